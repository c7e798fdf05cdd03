package main

import (
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// The main thread stands for the process in /proc, so it stays where it is.
func init() { runtime.LockOSThread() }

// What is turned off leaves neither tables nor the way into the node that they
// guarded.
func TestRescueThatEndsLeavesNothing(t *testing.T) {
	lab := netlab.New(t)
	node, router := lab.Node("node"), lab.Node("router")
	lab.Pair(node, "eth0", router, "eth0")
	node.Addr("eth0", "10.0.0.1/24")
	node.Run("ip", "route", "add", "default", "via", "10.0.0.254")
	// As kube-proxy does, this has conntrack work; some kernels tell only by what it knows.
	node.Run("nft", "table ip proxy {\nchain in {\ntype filter hook input priority 0; ct state established accept\n}\n}")
	_, _ = node.Try("bash", "-c", "echo >/dev/udp/10.0.0.1/9")
	far := plan.Rescue{
		Services: []plan.RescueService{{Addr: netip.MustParseAddr("198.51.100.1"), Port: 80}},
		Peers:    []plan.RescuePeer{{Name: "far", IPv4: netip.MustParseAddr("10.9.0.3"), Ask: true}},
	}
	apply := func(r *rescuer, want plan.Rescue) (st rescueState) {
		t.Helper()
		node.Inside(t, func() {
			if err := r.Apply(t.Context(), plan.Table{Rescue: want, NextHops: plan.NextHops{IPv4: netip.MustParseAddr("10.0.0.1")}}); err != nil {
				t.Error(err)
			}
			st = r.step(t.Context())
		})
		return st
	}
	ours := func() string { return node.Run("ip", "-br", "link") + node.Run("nft", "list", "tables") }
	fresh := func() *rescuer { return newRescuer(slog.New(slog.DiscardHandler)) }
	for _, end := range []struct {
		desc string
		by   func(*rescuer)
	}{
		{"the pool's rescue is turned off", func(r *rescuer) { apply(r, plan.Rescue{}) }},
		{"the next speaker finds it turned off", func(*rescuer) { apply(fresh(), plan.Rescue{}) }},
	} {
		t.Run(end.desc, func(t *testing.T) {
			r := fresh()
			if st := apply(r, far); !st.On || st.Why != "" {
				t.Fatalf("the rescue is %+v", st)
			}
			if got := ours(); !strings.Contains(got, "herald-vx") || !strings.Contains(got, "table ip herald") {
				t.Fatalf("at work there are\n%s", got)
			}
			node.Inside(t, func() { fresh().step(t.Context()) })
			if got := ours(); !strings.Contains(got, "herald-vx") || !strings.Contains(got, "table ip herald") {
				t.Fatalf("a speaker that knows nothing has left\n%s", got)
			}
			end.by(r)
			if got := ours(); strings.Contains(got, "herald") {
				t.Errorf("there are still\n%s", got)
			}
		})
	}
}
