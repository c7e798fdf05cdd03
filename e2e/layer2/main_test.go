// Package layer2 tests Herald without a router: a client on the nodes' own
// network asks by ARP and neighbour discovery who has an address.
package layer2

import (
	"os"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

var herald *stage.Stage

func TestMain(m *testing.M) {
	os.Exit(stage.Main(stage.Suite{
		Number: 52, AtMost: 30 * time.Minute, Install: stage.InstallLayer2,
		Run: func(s *stage.Stage) int { herald = s; return m.Run() },
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
