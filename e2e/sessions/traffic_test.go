package sessions

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
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
		stagetest.Answer(t, herald, lab.Ext, a, 20*time.Second)
	}
	return addrs
}

// equal is a third each, as FRR writes it.
var equal = map[string]int{"n1": 1, "n2": 1, "n3": 1}

func on(nodes ...string) map[string]int {
	m := map[string]int{}
	for _, n := range nodes {
		m[n] = 1
	}
	return m
}

// during sends traffic to an address while something happens, a new connection
// every 10 ms, for so long at least.
func during(t *testing.T, a netip.Addr, lasting time.Duration, do func()) stage.Traffic {
	t.Helper()
	got, err := herald.Traffic(t.Context(), a, 10*time.Millisecond, lasting, do)
	must(t, err)
	t.Logf("%s: %s", a, got)
	return got
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
