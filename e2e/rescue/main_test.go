// Package rescue tests that connections live on when a router moves them to
// another node.
package rescue

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// A setup is a lab on which the tests run.
type setup struct {
	proxyMode string   // kube-proxy's
	far       []string // nodes in a rack of their own
	overlay   string
}

// What does not depend on the lab is tested on the first one alone.
var setups = []setup{
	{proxyMode: "nftables", overlay: "flow-rescue"},
	{proxyMode: "iptables", overlay: "full", far: []string{"n2"}},
}

var (
	herald *stage.Stage
	must   = stagetest.Must
	here   setup
	config string
)

// inRacks is whether the tests run on two segments.
func inRacks() bool { return len(here.far) > 0 }

// config has BFD, so that a dead node is found before its connections time out.
// In racks each node's router is the one that its default route names.
func (s setup) config() string {
	text := strings.Replace(stage.Config, "  keepaliveTime: 3s\n", "  keepaliveTime: 3s\n  bfdProfile: default\n", 1)
	if len(s.far) > 0 {
		text = strings.Replace(text, "address: "+lab.Router4, "addressFrom: {defaultGateway: IPv4}", 1)
	}
	return text
}

// TestMain runs the tests on one lab after the other.
func TestMain(m *testing.M) {
	code := 0
	for i, s := range setups {
		here, config = s, s.config()
		code = max(code, stage.Main(stage.Suite{
			Number: 56 + i, AtMost: 15 * time.Minute,
			Options: lab.Options{BFD: true, ProxyMode: s.proxyMode, FarNodes: s.far},
			Install: install,
			Run:     func(s *stage.Stage) int { herald = s; return m.Run() },
		}))
	}
	os.Exit(code)
}

func install(ctx context.Context, l *lab.Lab) (*stage.Stage, error) {
	s := &stage.Stage{Lab: l}
	if err := s.MakeGossipKey(ctx); err != nil {
		return nil, err
	}
	if err := s.Manifests(ctx, "overlays/"+here.overlay); err != nil {
		return nil, err
	}
	if err := s.Configure(ctx, config); err != nil {
		return nil, err
	}
	return s, s.WaitInstalled(ctx)
}

// begin is how every test starts.
func begin(t *testing.T) {
	t.Helper()
	stagetest.Begin(t, herald, config)
}
