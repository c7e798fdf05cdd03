package routers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// n2 is in the router's own AS, since LOCAL_PREF is seen nowhere else.
const n2Inside = `  overrides:
  - nodeSelector: {matchLabels: {site: inside}}
    asn: 64512
advertisements:
- pools: [public]
  aggregationLength: 24
  aggregationLengthV6: 120
  communities: ["64512:100", no-export, "4200000000:1:2"]
  localPref: 200
  med: 10
  prepend: 2
`

var frrInside = frr("FRR, to which n2 is internal",
	"neighbor 10.77.0.12 remote-as internal", "neighbor 10.77.0.12 passive", "neighbor 10.77.0.12 timers 3 9",
	"address-family ipv4 unicast", "neighbor 10.77.0.12 activate", "exit-address-family",
	"address-family ipv6 unicast", "neighbor 10.77.0.12 activate", "exit-address-family")

// TestAttributes has an advertisement with all that there is, a Local Service
// and, in the same aggregate, one of policy Cluster.
func TestAttributes(t *testing.T) {
	begin(t)
	ctx := t.Context()
	local := serve(t)
	must(t, herald.Create(ctx, stage.Service{Name: "everywhere", Cluster: true, App: "web"}))
	t.Cleanup(func() { must(t, herald.Delete(context.Background(), "everywhere")) })
	spread, err := herald.WaitAddrs(ctx, "everywhere", 2)
	must(t, err)
	use(t, frrInside)
	must(t, herald.Configure(ctx, configured(64513, external, n2Inside)))
	for _, family := range []struct {
		pool      string
		aggregate string
	}{
		{"10.99.16.0/20", "10.99.16.0/24"},
		{"fd99:1::/112", "fd99:1::/120"},
	} {
		aggregate := netip.MustParsePrefix(family.aggregate)
		host := stage.Host(of(local, aggregate))
		wantPaths(t, host, 1, 3, 4)
		wantPaths(t, aggregate, 1, 1, 1)
		// The path of n2 has the higher LOCAL_PREF.
		by := "10.77.0.12*1"
		if host.Addr().Is6() {
			by = "fd77::12*1"
		}
		waitHops(t, 5*time.Second, host, by)
		waitHops(t, 5*time.Second, aggregate, by)
		routes, err := herald.RouterRoutes(ctx, netip.MustParsePrefix(family.pool))
		must(t, err)
		if len(routes) != 2 {
			t.Errorf("the router has routes to %v, want only %s and %s", slices.Collect(maps.Keys(routes)), aggregate, host)
		}
		wantAnswer(t, host.Addr())
		wantAnswer(t, of(spread, aggregate))
	}
}

// of is the address that is in a prefix.
func of(addrs []netip.Addr, p netip.Prefix) netip.Addr {
	return addrs[slices.IndexFunc(addrs, p.Contains)]
}

func wantAnswer(t *testing.T, a netip.Addr) {
	t.Helper()
	stagetest.Answer(t, herald, lab.Ext, a, 10*time.Second)
}

// wantPaths waits until the router has learnt all attributes of the paths from
// the three nodes, which have these weights.
func wantPaths(t *testing.T, p netip.Prefix, w1, w2, w3 int) {
	t.Helper()
	const all = "MED 10, 64512:100 64513:%d no-export, 4200000000:1:2, "
	path := func(kind string, asn, w int) string { // with the link bandwidth in both forms
		return fmt.Sprintf(kind+all+"LB:%d:%d (%d bps) LB:%[2]d:%[3]d (%[4]d bps)", 10000+w, asn, w, 8*w)
	}
	const eBGP, iBGP = "external, AS 64513 64513 64513, LOCAL_PREF 0, ", "internal, AS Local, LOCAL_PREF 200, "
	want := strings.Join([]string{
		"10.77.0.11 " + path(eBGP, 64513, w1), "10.77.0.12 " + path(iBGP, 64512, w2), "10.77.0.13 " + path(eBGP, 64513, w3),
	}, "\n")
	must(t, stage.Wait(t.Context(), 40*time.Second, func() error {
		paths, err := learnt(t, p)
		if err != nil {
			return err
		}
		var lines []string
		for _, x := range paths {
			lines = append(lines, x.String())
		}
		if got := strings.Join(lines, "\n"); got != want {
			return fmt.Errorf("%s: FRR has the paths\n%s\nwant\n%s", p, got, want)
		}
		return nil
	}))
}

// learntPath is a path as FRR shows it.
type learntPath struct {
	ASPath       struct{ String string }
	LocPrf       int
	Metric       int
	Community    struct{ String string }
	Large        struct{ String string } `json:"largeCommunity"`
	Extended     struct{ String string } `json:"extendedCommunity"`
	OriginatorID string
	Peer         struct{ PeerID, Type string }
}

func (p learntPath) String() string {
	return fmt.Sprintf("%s %s, AS %s, LOCAL_PREF %d, MED %d, %s, %s, %s",
		p.Peer.PeerID, p.Peer.Type, p.ASPath.String, p.LocPrf, p.Metric, p.Community.String, p.Large.String, p.Extended.String)
}

// learnt are the router's paths of a prefix, sorted by the node that they come from.
func learnt(t *testing.T, p netip.Prefix) ([]learntPath, error) {
	t.Helper()
	family := "ipv4"
	if p.Addr().Is6() {
		family = "ipv6"
	}
	out, err := herald.Vtysh(t.Context(), "show bgp "+family+" unicast "+p.String()+" json")
	if err != nil {
		return nil, err
	}
	var answer struct{ Paths []learntPath }
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil, fmt.Errorf("paths of %s: %w in %q", p, err, out)
	}
	slices.SortFunc(answer.Paths, func(a, b learntPath) int {
		return cmp.Compare(a.OriginatorID+a.Peer.PeerID, b.OriginatorID+b.Peer.PeerID)
	})
	return answer.Paths, nil
}
