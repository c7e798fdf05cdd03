package bgp

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// TestFamilyThatTheRouterDoesNotTake is said, as the session itself is fine.
func TestFamilyThatTheRouterDoesNotTake(t *testing.T) {
	const v4, v6 = "198.51.100.10/32 1", "2001:db8:5::10/128 1"
	const noIPv4 = "the peer does not take IPv4 routes: activate the address family ipv4 unicast for this neighbor on the router"
	const noIPv6 = "the peer does not take IPv6 routes: activate the address family ipv6 unicast for this neighbor on the router"
	for _, tc := range []struct {
		name   string
		lacks  string // the family that is not activated
		routes []string
		want   string
	}{
		{"both at a router for both", "", []string{v4, v6}, ""},
		{"both at a router for IPv4", "ipv6", []string{v4, v6}, noIPv6},
		{"IPv4 at a router for IPv4", "ipv6", []string{v4}, ""},
		{"both at a router for IPv6", "ipv4", []string{v4, v6}, noIPv4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 1)
			n := startAnnouncer(t, r.nodes[0])
			sessions := []plan.Session{tor("tor", "10.8.0.1", 64512, "")}
			n.apply(table(1, 64513, sessions, tc.routes...))
			conf := bgpd(64513, "10.8.0.11")
			if tc.lacks != "" {
				conf = strings.Replace(conf, " address-family "+tc.lacks+" unicast\n  neighbor N activate\n  neighbor N soft", " address-family "+tc.lacks+" unicast\n  neighbor N soft", 1)
			}
			frr := r.router.FRR(conf)
			says := func(want string) {
				t.Helper()
				netlab.Eventually(t, 20*time.Second, func() string {
					if p := n.peer("tor"); p.State != Established || p.Withheld != want {
						return "the session is " + string(p.State) + ", withheld: " + p.Withheld
					}
					return ""
				})
			}
			says(tc.want)
			if tc.want == "" {
				return
			}
			// Without routes of that family nothing is amiss, and again once it is activated.
			n.apply(table(1, 64513, sessions))
			says("")
			n.apply(table(1, 64513, sessions, tc.routes...))
			says(tc.want)
			frr.Configure("router bgp 64512", "address-family "+tc.lacks+" unicast", "neighbor N activate")
			says("")
			wantFIB(t, 5*time.Second, r.router, "198.51.100.10", "10.8.0.11")
			wantFIB(t, 5*time.Second, r.router, "2001:db8:5::10", "fd08::11")
		})
	}
}

// ADD-PATH is agreed on for each family by itself (RFC 7911 section 4).
func TestFamilyWithoutADDPATH(t *testing.T) {
	capability := func(families ...bgp.Family) []bgp.ParameterCapabilityInterface {
		list := []bgp.ParameterCapabilityInterface{bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC), bgp.NewCapMultiProtocol(bgp.RF_IPv6_UC)}
		var tuples []*bgp.CapAddPathTuple
		for _, f := range families {
			tuples = append(tuples, bgp.NewCapAddPathTuple(f, bgp.BGP_ADD_PATH_RECEIVE))
		}
		return append(list, bgp.NewCapAddPath(tuples))
	}
	both := []bgp.Family{bgp.RF_IPv4_UC, bgp.RF_IPv6_UC}
	for _, tc := range []struct {
		name   string
		takes  []bgp.Family
		routes []string
		want   string // empty: nothing
	}{
		{"both", both, []string{"198.51.100.10/32", "2001:db8:5::10/128"}, ""},
		{"IPv4 alone", both[:1], []string{"198.51.100.10/32", "2001:db8:5::10/128"}, "ADD-PATH of IPv6 routes"},
		{"IPv6 alone", both[1:], []string{"198.51.100.10/32", "2001:db8:5::10/128"}, "ADD-PATH of IPv4 routes"},
		{"IPv4 alone, and no other routes", both[:1], []string{"198.51.100.10/32"}, ""},
		{"none", nil, []string{"198.51.100.10/32"}, "the peer does not take ADD-PATH: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := newStatus(slog.New(slog.DiscardHandler))
			s := tor("tor", "10.8.0.1", 64512, "")
			s.Weights = config.EncodeAddPath
			st.add(s)
			routes := map[pathName]attributes{}
			for _, p := range tc.routes {
				routes[pathName{prefix: netip.MustParsePrefix(p), id: 1}] = attributes{}
			}
			st.heard(s.Address, s.ASN, capability(tc.takes...))
			st.change(s.Address, Established, func(State) string { return "" })
			st.routes("tor", routes, "")
			p := st.list()[0]
			if !strings.Contains(p.Withheld, tc.want) || (p.Withheld == "") != (tc.want == "") || p.AddPath != (tc.want == "") {
				t.Errorf("withheld is %q, AddPath %v; want %q", p.Withheld, p.AddPath, tc.want)
			}
		})
	}
}
