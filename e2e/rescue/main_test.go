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
)

var (
	herald *stage.Stage
	// proxyMode is kube-proxy's. In iptables mode only what differs is tested.
	proxyMode string
)

// config has BFD, so that a dead node is found before its connections time out.
var config = strings.Replace(stage.Config, "  keepaliveTime: 3s\n", "  keepaliveTime: 3s\n  bfdProfile: default\n", 1)

// TestMain runs the tests on two labs, one after the other.
func TestMain(m *testing.M) {
	code := 0
	for i, mode := range []string{"nftables", "iptables"} {
		proxyMode = mode
		code = max(code, stage.Main(stage.Suite{
			Number: 56 + i, AtMost: 15 * time.Minute,
			Options: lab.Options{BFD: true, ProxyMode: mode},
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
	if err := s.Manifests(ctx, "overlays/flow-rescue"); err != nil {
		return nil, err
	}
	if err := s.Configure(ctx, config); err != nil {
		return nil, err
	}
	return s, s.WaitInstalled(ctx)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
