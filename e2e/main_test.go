// Package e2e tests Herald as users run it: installed from manifests/ on a real
// Kubernetes control plane, with kube-proxy, a router, and real packets. All
// tests share one lab and use Services of their own.
package e2e

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
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
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
	l, err := lab.Up(ctx, lab.Options{Name: lab.TestName(50), Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 1
	defer func() {
		if code != 0 && os.Getenv("HERALD_KEEP_LAB") != "" {
			fmt.Fprintf(os.Stderr, "lab %s is kept; take it down with: lab -name %[1]s down\n", l.Name())
			return
		}
		if err := l.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	if herald, err = stage.Install(ctx, l, stage.Config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		dumpLogs(ctx, l)
		return 1
	}
	code = m.Run()
	if code != 0 {
		dumpLogs(ctx, l)
	}
	return code
}

// dumpLogs shows what Herald's pods said, so that a failure in continuous
// integration can be understood.
func dumpLogs(ctx context.Context, l *lab.Lab) {
	for _, selector := range []string{"app.kubernetes.io/component=allocator", "app.kubernetes.io/component=speaker"} {
		out, err := l.Kubectl(ctx, "-n", "herald-system", "logs", "--prefix", "--tail=60", "-l", selector)
		fmt.Fprintf(os.Stderr, "== %s %v\n%s\n", selector, err, strings.TrimSpace(out))
	}
}
