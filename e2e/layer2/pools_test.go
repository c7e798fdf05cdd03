package layer2

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// threeWays are pools that are announced by both protocols and by BGP alone;
// that of Layer2Config is announced at layer 2 alone. All are in the nodes' own
// subnet, so that nothing but the configuration tells them apart.
const threeWays = `- name: both
  ranges: [10.77.0.32/29, "fd77::2000/125"]
  autoAssign: false
  announce: [bgp, l2]
- name: routed
  ranges: [10.77.0.40/29, "fd77::2008/125"]
  autoAssign: false
  announce: [bgp]
peers:
- name: router
  address: ` + lab.Router4 + `
  asn: 64512
  holdTime: 9s
  keepaliveTime: 3s
bgp:
  asn: 64513
`

func TestPoolsChooseHowTheyAreAnnounced(t *testing.T) {
	begin(t)
	configure(t, threeWays)
	must(t, herald.WaitInstalled(t.Context()))
	must(t, herald.RunPods(t.Context(), "ways", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	w := openWire(t)
	both := many(t, 2, stage.Service{Name: "both", App: "ways"}, "both")
	routed := many(t, 2, stage.Service{Name: "routed", App: "ways"}, "routed")
	local := many(t, 2, stage.Service{Name: "local", App: "ways"}, "lan")

	everyNode := map[string]int{"n1": 1, "n2": 1, "n3": 1}
	for _, a := range slices.Concat(both, routed) {
		waitHops(t, a, everyNode)
	}
	t.Logf("one answerer each for %v", w.waitOwners(t, both).count())
	for _, a := range both {
		waitHops(t, a, everyNode)
		waitServed(t, a)
	}
	w.waitOwners(t, local)
	w.waitNobody(t, routed...)
	for _, a := range local {
		waitHops(t, a, nil)
	}
}

// waitHops waits until the router's route to an address goes over these nodes;
// none: until there is no route.
func waitHops(t *testing.T, a netip.Addr, nodes map[string]int) {
	t.Helper()
	want := slices.Sorted(maps.Keys(nodes))
	must(t, stage.Wait(t.Context(), 20*time.Second, func() error {
		got, err := herald.Weights(t.Context(), a)
		if hops := slices.Sorted(maps.Keys(got)); err == nil && !slices.Equal(hops, want) {
			err = fmt.Errorf("the router has next hops %v for %s, want %v", hops, a, want)
		}
		return err
	}))
}
