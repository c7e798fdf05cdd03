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

// begin is how every test starts: with the configuration of the package in force,
// and nothing under way that another test has set off.
func begin(t *testing.T) {
	t.Helper()
	must(t, herald.Configure(t.Context(), stage.Layer2Config))
	must(t, herald.Calm(t.Context()))
}
