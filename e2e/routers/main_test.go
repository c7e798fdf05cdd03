// Package routers tests that weights reach the kernels of all the routers that
// docs/configuration.md names, in each of the ways that it names, and that real
// flows spread accordingly: FRR, BIRD, and FRR behind a route reflector.
package routers

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

var (
	herald *stage.Stage
	must   = stagetest.Must
)

func TestMain(m *testing.M) {
	os.Exit(stage.Main(stage.Suite{
		Number: 55, AtMost: 20 * time.Minute,
		Options: lab.Options{NodeLabels: map[string]map[string]string{"n2": {"site": "inside"}}},
		Install: func(ctx context.Context, l *lab.Lab) (*stage.Stage, error) {
			return stage.Install(ctx, l, configured(64513, external, ""))
		},
		Run: func(s *stage.Stage) int { herald = s; return m.Run() },
	}))
}

// external is a peer in an AS of its own, to be followed by more of its keys.
const external = `
- name: router
  address: ` + lab.Router4 + `
  asn: 64512
  holdTime: 9s
  keepaliveTime: 3s
  connectRetryTime: 2s
`

// configured is a configuration with our AS number, peers, and what else.
func configured(asn int, peers, more string) string {
	return fmt.Sprintf(`apiVersion: heraldlb.io/v1
pools:
- name: public
  ranges: [10.99.16.0/20, fd99:1::/112]
peers:%s
bgp:
  asn: %d
  weights: {interval: 4s, minChange: 25, decreaseDelay: 2s, settleTime: 3s}
%s`, peers, asn, more)
}

// begin is how every test starts: with the router of the package.
func begin(t *testing.T) {
	t.Helper()
	use(t, plainFRR)
	stagetest.Begin(t, herald, configured(64513, external, ""))
}
