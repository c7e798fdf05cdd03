// Package sessions tests what network engineers ask of BGP: upgrades, drains and
// failures without loss, on a router with BFD.
package sessions

import (
	"context"
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

// config differs from stage.Config in what this package is about.
const config = `apiVersion: heraldlb.io/v1
pools:
- name: public
  ranges: [10.99.16.0/20, fd99:1::/112]
peers:
- name: router
  address: ` + lab.Router4 + `
  asn: 64512
  holdTime: 9s
  keepaliveTime: 3s
  bfdProfile: default
bgp:
  asn: 64513
  weights: {interval: 4s, minChange: 25, decreaseDelay: 2s, settleTime: 3s}
`

func TestMain(m *testing.M) {
	os.Exit(stage.Main(stage.Suite{
		Number: 53, AtMost: 20 * time.Minute,
		Options: lab.Options{BFD: true},
		Install: func(ctx context.Context, l *lab.Lab) (*stage.Stage, error) { return stage.Install(ctx, l, config) },
		Run:     func(s *stage.Stage) int { herald = s; return m.Run() },
	}))
}

// begin is how every test starts.
func begin(t *testing.T) {
	t.Helper()
	stagetest.Begin(t, herald, config)
}
