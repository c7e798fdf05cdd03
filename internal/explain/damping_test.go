package explain_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/speaker/plan"
)

func TestHowSoonWeightsFollow(t *testing.T) {
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	due := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	with := func(node string, holds map[netip.Addr]explain.Hold) explain.Answer {
		return explain.Answer{Node: node, State: explain.State{Holds: holds}}
	}
	one := map[netip.Addr]explain.Hold{
		a: {Quick: true}, c: {}, // of which there is nothing to tell
		b: {
			Slow: "flow rescue is off on node n3", Due: due,
			Announced: []plan.NodeWeight{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 1}}, Wanted: []plan.NodeWeight{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 3}},
		},
	}
	var out strings.Builder
	explain.Damping(&out, []netip.Addr{a, b, c}, []explain.Answer{with("n1", one), with("n2", one), {Node: "n4", Unknown: "no answer"}})
	const want = `
changes of weight, as the nodes' speakers say:
  192.0.2.1 follows within 10 s: n1, n2: flow rescue leads back what routers move
  192.0.2.2 follows as bgp.weights says: n1, n2: flow rescue is off on node n3
  192.0.2.2 is announced with n1=1 n2=1 until 2026-01-02T03:04:05Z: n1, n2: then with n1=1 n2=3
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
