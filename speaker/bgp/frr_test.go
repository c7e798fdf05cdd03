package bgp

import (
	"fmt"
	"net/netip"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// rack is a router and nodes on one switch. Node i has 10.8.0.(10+i) and
// fd08::(10+i), the router .1 and ::1.
type rack struct {
	lab    *netlab.Lab
	sw     *netlab.Switch
	router *netlab.Node
	nodes  []*netlab.Node
}

func newRack(tb testing.TB, nodes int) *rack {
	tb.Helper()
	lab := netlab.New(tb)
	r := &rack{lab: lab, sw: lab.Switch("sw"), router: lab.Node("r")}
	r.sw.Attach(r.router, "eth0", "10.8.0.1/24", "fd08::1/64")
	for i := 1; i <= nodes; i++ {
		n := lab.Node(fmt.Sprintf("n%d", i))
		r.sw.Attach(n, "eth0", fmt.Sprintf("10.8.0.%d/24", 10+i), fmt.Sprintf("fd08::%d/64", 10+i))
		r.nodes = append(r.nodes, n)
	}
	return r
}

// bgpd is the configuration of a router in AS 64512 with the given neighbors.
func bgpd(remoteAS uint32, neighbors ...string) string {
	var b strings.Builder
	b.WriteString("router bgp 64512\n bgp router-id 10.8.0.1\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n" +
		" neighbor N peer-group\n")
	fmt.Fprintf(&b, " neighbor N remote-as %d\n neighbor N timers 1 3\n neighbor N timers connect 1\n", remoteAS)
	for _, n := range neighbors {
		fmt.Fprintf(&b, " neighbor %s peer-group N\n", n)
	}
	for _, f := range []string{"ipv4", "ipv6"} {
		fmt.Fprintf(&b, " address-family %s unicast\n  neighbor N activate\n  neighbor N soft-reconfiguration inbound\n exit-address-family\n", f)
	}
	return b.String()
}

// table is what node i announces: the prefixes of routes, written as
// "prefix weight", to each of the sessions.
func table(i int, asn uint32, sessions []plan.Session, routes ...string) plan.Table {
	t := plan.Table{
		ASN:      asn,
		RouterID: netip.MustParseAddr(fmt.Sprintf("10.8.0.%d", 10+i)),
		NextHops: plan.NextHops{
			IPv4: netip.MustParseAddr(fmt.Sprintf("10.8.0.%d", 10+i)),
			IPv6: netip.MustParseAddr(fmt.Sprintf("fd08::%d", 10+i)),
		},
		Sessions: sessions,
	}
	for _, s := range sessions {
		for _, r := range routes {
			t.Routes = append(t.Routes, route(s.Name, r))
		}
	}
	return t
}

func route(peer, s string) plan.Route {
	r := plan.Route{Peer: peer}
	var prefix string
	if _, err := fmt.Sscan(s, &prefix, &r.Weight); err != nil {
		panic(err)
	}
	r.Prefix = netip.MustParsePrefix(prefix)
	return r
}

func tor(name, addr string, asn uint32, form config.LinkBandwidth) plan.Session {
	return plan.Session{
		Name: name, Address: netip.MustParseAddr(addr), Port: 179, ASN: asn, LinkBandwidth: form,
		HoldTime: 3 * time.Second, KeepaliveTime: time.Second, ConnectRetryTime: 2 * time.Second,
	}
}

var nexthop = regexp.MustCompile(`via (?:inet6? )?(\S+) .*?weight (\d+)`)

// fib is a route in the kernel of a node, as "address*weight" sorted by address.
func fib(n *netlab.Node, prefix string) string {
	out, err := n.Try("ip", "route", "show", "root", prefix)
	if strings.Contains(prefix, ":") {
		out, err = n.Try("ip", "-6", "route", "show", "root", prefix)
	}
	if err != nil {
		return err.Error()
	}
	var hops []string
	for _, m := range nexthop.FindAllStringSubmatch(out, -1) {
		hops = append(hops, m[1]+"*"+m[2])
	}
	if len(hops) == 0 {
		if f := strings.Fields(out); len(f) > 0 {
			if i := strings.Index(out, "via "); i >= 0 {
				hops = append(hops, strings.Fields(out[i:])[1])
			}
		}
	}
	sort.Strings(hops)
	return strings.Join(hops, " ")
}

func wantFIB(tb testing.TB, limit time.Duration, n *netlab.Node, prefix, want string) time.Duration {
	tb.Helper()
	return netlab.Eventually(tb, limit, func() string {
		if got := fib(n, prefix); got != want {
			return fmt.Sprintf("%s: kernel has %q, want %q", prefix, got, want)
		}
		return ""
	})
}

// bgpPath is a path as FRR shows it.
type bgpPath struct {
	Valid             bool
	LastUpdate        struct{ Epoch int64 }
	ExtendedCommunity struct{ String string }
	Nexthops          []struct{ IP string }
	Aspath            struct{ String string }
}

func paths(r *netlab.FRR, prefix string) []bgpPath {
	family := "ipv4"
	if strings.Contains(prefix, ":") {
		family = "ipv6"
	}
	var v struct{ Paths []bgpPath }
	if err := r.ShowJSON("show bgp "+family+" unicast "+prefix+" json", &v); err != nil {
		return nil
	}
	return v.Paths
}

func TestWeightsReachTheRouter(t *testing.T) {
	forms := []config.LinkBandwidth{config.NonTransitive, config.Transitive}
	for _, tc := range []struct {
		name   string
		asn    uint32
		router string
		node   string
	}{
		{"eBGP over IPv4", 64513, "10.8.0.1", "10.8.0."},
		{"eBGP over IPv6", 4200000001, "fd08::1", "fd08::"},
		{"iBGP over IPv4", 64512, "10.8.0.1", "10.8.0."},
		{"iBGP over IPv6", 64512, "fd08::1", "fd08::"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 3)
			r.router.FRR(bgpd(tc.asn, tc.node+"11", tc.node+"12", tc.node+"13"))
			var nodes []*remote
			say := func(weights ...int) {
				for i, w := range weights {
					nodes[i].apply(table(i+1, tc.asn, []plan.Session{tor("tor", tc.router, 64512, forms[i%2])},
						fmt.Sprintf("198.51.100.10/32 %d", w), fmt.Sprintf("2001:db8:5::10/128 %d", w)))
				}
			}
			for _, n := range r.nodes {
				nodes = append(nodes, startAnnouncer(t, n))
			}
			say(1, 3, 4)
			took := wantFIB(t, 15*time.Second, r.router, "198.51.100.10", "10.8.0.11*12 10.8.0.12*37 10.8.0.13*50")
			wantFIB(t, 5*time.Second, r.router, "2001:db8:5::10", "fd08::11*12 fd08::12*37 fd08::13*50")
			t.Logf("routes in the kernel %v after the first Apply", took.Round(10*time.Millisecond))
			say(2, 3, 3)
			wantFIB(t, 5*time.Second, r.router, "198.51.100.10", "10.8.0.11*25 10.8.0.12*37 10.8.0.13*37")
			wantFIB(t, 5*time.Second, r.router, "2001:db8:5::10", "fd08::11*25 fd08::12*37 fd08::13*37")
		})
	}
}
