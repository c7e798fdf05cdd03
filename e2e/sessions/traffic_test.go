package sessions

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// serve creates a Service with pods on the nodes and returns its addresses once
// the router sends to all of them.
func serve(t *testing.T, name string, perNode map[string]int, weights map[string]int) []netip.Addr {
	t.Helper()
	ctx := t.Context()
	must(t, herald.RunPods(ctx, name, perNode))
	must(t, herald.Create(ctx, stage.Service{Name: name}))
	addrs, err := herald.WaitAddrs(ctx, name, 2)
	must(t, err)
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, 20*time.Second, a, weights))
		var first flows.First
		must(t, herald.Run(ctx, lab.Ext, &first, "flows", "probe", "--until-first-success", "--duration", "20s", "--target", target(a)))
	}
	return addrs
}

func target(a netip.Addr) string { return netip.AddrPortFrom(a, 80).String() }

// equal is a third each, as FRR writes it.
var equal = map[string]int{"n1": 1, "n2": 1, "n3": 1}

func on(nodes ...string) map[string]int {
	m := map[string]int{}
	for _, n := range nodes {
		m[n] = 1
	}
	return m
}

// traffic is what clients saw.
type traffic struct{ stage.Traffic }

// during sends traffic to an address while something happens, a new connection
// every 10 ms, for so long at least.
func during(t *testing.T, a netip.Addr, lasting time.Duration, do func()) traffic {
	t.Helper()
	got, err := herald.Traffic(t.Context(), a, 10*time.Millisecond, lasting, do)
	must(t, err)
	t.Logf("%s: %s", a, got)
	return traffic{got}
}

func (x traffic) wantNothingLost(t *testing.T) {
	t.Helper()
	if x.Probe.Lost > 0 || x.Hold.Broken > 0 {
		t.Errorf("%d of %d probes lost, %d of %d connections broken: want none", x.Probe.Lost, x.Probe.Sent, x.Hold.Broken, x.Hold.Established)
	}
}

// caughtOpen is how many probes may have been open already, for less than a
// millisecond each, when the router turned, as the connections that break then are.
const caughtOpen = 2

func (x traffic) wantNewServed(t *testing.T) {
	t.Helper()
	open := x.Probe.Errors["reset"] // in place of an answer; one that was not open is refused
	if lost := x.Probe.Lost - open; lost > 0 || open > caughtOpen {
		t.Errorf("%d of %d new connections lost, want none, and %d were reset when they were open", lost, x.Probe.Sent, open)
	}
}

func speakerOn(t *testing.T, node string) string {
	t.Helper()
	pod, err := herald.SpeakerOn(t.Context(), node)
	must(t, err)
	return pod
}

// unmoved fails if the router changed the route of an address while something
// happened.
func unmoved(t *testing.T, a netip.Addr, do func()) {
	t.Helper()
	m, err := herald.Monitor(t.Context())
	must(t, err)
	defer m.Stop()
	do()
	must(t, m.Alive())
	if e := m.Events(a.String()); len(e) != 0 {
		t.Errorf("the route to %s changed: %+v", a, e)
	}
}

func waitServed(t *testing.T, a netip.Addr, want map[string]int) {
	t.Helper()
	must(t, herald.WaitReplicas(t.Context()))
	must(t, herald.WaitWeights(t.Context(), 60*time.Second, a, want))
	must(t, stage.Wait(t.Context(), 60*time.Second, func() error {
		out, err := herald.Vtysh(t.Context(), "show bgp summary")
		if n := strings.Count(out, "64513"); err == nil && (n < 3 || strings.Contains(out, "Active") || strings.Contains(out, "Idle")) {
			err = fmt.Errorf("not every session is up:\n%s", out)
		}
		return err
	}))
}
