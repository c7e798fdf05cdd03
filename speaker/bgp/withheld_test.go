package bgp

import (
	"strings"
	"testing"
	"time"

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
