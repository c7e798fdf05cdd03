// Package layer2 tests Herald without a router: a client on the nodes' own
// network asks by ARP and neighbour discovery who has an address.
package layer2

import (
	"os"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

var (
	herald *stage.Stage
	must   = stagetest.Must
)

func TestMain(m *testing.M) {
	os.Exit(stage.Main(stage.Suite{
		Number: 52, AtMost: 30 * time.Minute, Install: stage.InstallLayer2,
		Run: func(s *stage.Stage) int { herald = s; return m.Run() },
	}))
}

// begin is how every test starts.
func begin(t *testing.T) {
	t.Helper()
	stagetest.Begin(t, herald, stage.Layer2Config)
}
