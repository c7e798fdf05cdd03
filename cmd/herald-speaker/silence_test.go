package main

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"testing"

	"github.com/heraldlb/herald/internal/netlab"
)

// A node whose speaker alone has died still answers with a reset.
func TestSilenceIsOfDeadNodes(t *testing.T) {
	lab := netlab.New(t)
	here, there := lab.Node("here"), lab.Node("there")
	lab.Pair(here, "eth0", there, "eth0")
	here.Addr("eth0", "10.0.0.1/24")
	there.Addr("eth0", "10.0.0.2/24", "10.0.0.3/24")
	lost := map[string]netip.AddrPort{
		"listens":      netip.MustParseAddrPort("10.0.0.2:7946"),
		"speaker dead": netip.MustParseAddrPort("10.0.0.3:7946"),
		"powered off":  netip.MustParseAddrPort("10.0.0.4:7946"),
	}
	there.Inside(t, func() {
		l, err := net.Listen("tcp", "10.0.0.2:7946")
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = l.Close() })
	})
	s := silence{answers: func(ctx context.Context, at netip.AddrPort) (is bool) {
		here.Inside(t, func() { is = answers(ctx, at) })
		return is
	}}
	ask := func(want ...string) {
		t.Helper()
		got := s.update(t.Context(), lost)
		wanted := map[string]bool{}
		for _, w := range want {
			wanted[w] = true
		}
		if !maps.Equal(got, wanted) {
			t.Errorf("silent are %v, want %v", got, wanted)
		}
	}
	ask("powered off")
	there.Addr("eth0", "10.0.0.4/24")
	ask("powered off") // it has booted: it has no tables yet
	there.Run("ip", "link", "set", "eth0", "down")
	ask("powered off", "listens", "speaker dead")
	there.Run("ip", "link", "set", "eth0", "up")
	delete(lost, "powered off")
	delete(lost, "listens")
	ask("speaker dead")
	delete(lost, "speaker dead")
	ask()
}
