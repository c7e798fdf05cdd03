// Package layer2 tests Herald without a router: a client on the nodes' own
// network asks by ARP and neighbour discovery who has an address.
package layer2

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

var herald *stage.Stage

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	skip, err := lab.Prepare(ctx, lab.Build)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if skip != "" {
		fmt.Println("skipped:", skip)
		return 0
	}
	l, err := lab.Up(ctx, lab.Options{Name: lab.TestName(52), Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := l.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	code := 1
	if herald, err = stage.InstallLayer2(ctx, l); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if code != 0 {
		dumpLogs(ctx, l)
	}
	return code
}

// dumpLogs shows what the speakers said, so that a failure can be understood.
func dumpLogs(ctx context.Context, l *lab.Lab) {
	out, err := l.Kubectl(ctx, "-n", "herald-system", "logs", "--prefix", "--tail=60", "-l", "app.kubernetes.io/component=speaker")
	fmt.Fprintf(os.Stderr, "== speakers %v\n%s\n", err, strings.TrimSpace(out))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
