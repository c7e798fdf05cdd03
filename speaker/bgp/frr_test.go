package bgp

import (
	"fmt"
	"net/netip"
	"os"
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

func tor(name, addr string, asn uint32, form config.LinkBandwidthForm) plan.Session {
	return plan.Session{
		Name: name, Address: netip.MustParseAddr(addr), Port: 179, ASN: asn, LinkBandwidth: form,
		HoldTime: 3 * time.Second, KeepaliveTime: time.Second, ConnectRetryTime: 2 * time.Second, RestartTime: 30 * time.Second,
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
				hops = append(hops, strings.Fields(strings.Replace(out[i:], "via inet6", "via", 1))[1])
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
	forms := []config.LinkBandwidthForm{config.Both, config.Transitive}
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
			took := wantFIB(t, 15*time.Second, r.router, "198.51.100.10", "10.8.0.11*63 10.8.0.12*190 10.8.0.13*254")
			wantFIB(t, 5*time.Second, r.router, "2001:db8:5::10", "fd08::11*63 fd08::12*190 fd08::13*254")
			t.Logf("routes in the kernel %v after the first Apply", took.Round(10*time.Millisecond))
			say(2, 3, 3)
			wantFIB(t, 5*time.Second, r.router, "198.51.100.10", "10.8.0.11*169 10.8.0.12*254 10.8.0.13*254")
			wantFIB(t, 5*time.Second, r.router, "2001:db8:5::10", "fd08::11*169 fd08::12*254 fd08::13*254")
		})
	}
}

func TestRouterFollows(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	frr := r.router.FRR(bgpd(64513, "10.8.0.11"))
	n := startAnnouncer(t, r.nodes[0])
	sessions := []plan.Session{tor("tor", "10.8.0.1", 64512, config.NonTransitive)}
	const a, b, own = "198.51.100.10", "2001:db8:5::10", "10.8.0.11"

	n.apply(table(1, 64513, sessions, a+"/32 1", b+"/128 1"))
	wantFIB(t, 10*time.Second, r.router, a, own)
	wantFIB(t, 5*time.Second, r.router, b, "fd08::11")

	// A weight changes in place: the route in the kernel never goes away.
	watch := r.router.Start("ip", "monitor", "route")
	time.Sleep(200 * time.Millisecond)
	n.apply(table(1, 64513, sessions, a+"/32 5", b+"/128 5"))
	netlab.Eventually(t, 5*time.Second, func() string {
		if p := paths(frr, a+"/32"); len(p) != 1 || p[0].ExtendedCommunity.String != "LB:64513:5 (40 bps)" {
			return fmt.Sprintf("FRR has %+v", p)
		}
		return ""
	})
	time.Sleep(300 * time.Millisecond)
	// (zebra 8.4 replaces an IPv6 route by deleting it, whatever it is sent.)
	if log, _ := os.ReadFile(watch.Log); strings.Contains(string(log), "Deleted "+a) {
		t.Errorf("the kernel lost a route when only its weight changed:\n%s", log)
	}

	t.Logf("withdrawn after %v", timed(func() {
		n.apply(table(1, 64513, sessions, b+"/128 5"))
		wantFIB(t, 2*time.Second, r.router, a, "")
	}))
	if got := fib(r.router, b); got != "fd08::11" {
		t.Errorf("the other route is %q", got)
	}
	t.Logf("announced again after %v", timed(func() {
		n.apply(table(1, 64513, sessions, a+"/32 1", b+"/128 5"))
		wantFIB(t, 2*time.Second, r.router, a, own)
	}))

	for range 2 {
		time.Sleep(lasts)
		frr.BGP.Kill()
		wantFIB(t, 5*time.Second, r.router, a, "")
		frr.StartBGP()
		back := wantFIB(t, 15*time.Second, r.router, a, own)
		t.Logf("route back %v after bgpd was started again", back.Round(time.Millisecond))
		if back > 5*time.Second {
			t.Error("that is gobgp's own pause of 5 s, which the loss of a session that has lasted should not wait for")
		}
	}
	wantFIB(t, 5*time.Second, r.router, b, "fd08::11")

	t.Logf("session removed: withdrawn after %v", timed(func() {
		n.apply(table(1, 64513, nil))
		wantFIB(t, 2*time.Second, r.router, a, "")
	}))
	n.apply(table(1, 64513, sessions, a+"/32 1"))
	wantFIB(t, 10*time.Second, r.router, a, own)
	t.Logf("announcer gone for good: withdrawn after %v", timed(func() {
		n.tell(order{Leave: true})
		n.stop()
		wantFIB(t, 2*time.Second, r.router, a, "")
	}))
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start).Round(time.Millisecond)
}

// TestTwoRouters has an FRR that would like to give us its own hundred routes,
// and a BIRD.
func TestTwoRouters(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	conf := bgpd(64513, "10.8.0.11")
	conf = strings.Replace(conf, "router bgp 64512\n", "router bgp 64512\n no bgp network import-check\n", 1)
	var networks strings.Builder
	for i := range 100 {
		fmt.Fprintf(&networks, "  network 203.0.113.%d/32\n", i)
	}
	conf = strings.Replace(conf, " address-family ipv4 unicast\n", " address-family ipv4 unicast\n"+networks.String(), 1)
	frr := r.router.FRR(conf)
	second := r.lab.Node("bird")
	r.sw.Attach(second, "eth0", "10.8.0.2/24", "fd08::2/64")
	bird := second.BIRD(`
router id 10.8.0.2;
protocol device {}
protocol bgp n1 {
	local as 64520;
	neighbor fd08::11 as 64513;
	hold time 3;
	connect retry time 1;
	ipv4 { import all; export none; };
	ipv6 { import all; export none; };
}`)
	n := startAnnouncer(t, r.nodes[0])
	sessions := []plan.Session{
		tor("frr", "10.8.0.1", 64512, config.Transitive),
		tor("bird", "fd08::2", 64520, config.NonTransitive),
	}
	tab := table(1, 64513, sessions, "198.51.100.10/32 3", "2001:db8:5::10/128 3")
	tab.Routes = append(tab.Routes, route("frr", "198.51.100.11/32 1"), route("bird", "198.51.100.12/32 4"))
	n.apply(tab)

	wantFIB(t, 10*time.Second, r.router, "198.51.100.11", "10.8.0.11")
	netlab.Eventually(t, 5*time.Second, func() string {
		if p := paths(frr, "198.51.100.10/32"); len(p) != 1 || p[0].ExtendedCommunity.String != "LB:64513:3 (24 bps)" {
			return fmt.Sprintf("FRR has %+v", p)
		}
		return ""
	})
	want := map[string]string{
		"198.51.100.10/32":   "BGP.next_hop: 10.8.0.11 BGP.ext_community: (unknown 0x4004, 64513, 1077936128)",
		"198.51.100.12/32":   "BGP.next_hop: 10.8.0.11 BGP.ext_community: (unknown 0x4004, 64513, 1082130432)",
		"2001:db8:5::10/128": "BGP.next_hop: fd08::11 BGP.ext_community: (unknown 0x4004, 64513, 1077936128)",
	}
	for prefix, attrs := range want {
		netlab.Eventually(t, 10*time.Second, func() string {
			out := bird.Show("show route all for " + prefix)
			if flat := strings.Join(strings.Fields(out), " "); !containsAll(flat, attrs) {
				return fmt.Sprintf("BIRD has for %s: %s", prefix, out)
			}
			return ""
		})
	}
	netlab.Eventually(t, 10*time.Second, func() string {
		var v struct {
			Ipv4Unicast struct {
				Peers map[string]struct{ PfxSnt, PfxRcd int }
			}
		}
		err := frr.ShowJSON("show bgp summary json", &v)
		if p := v.Ipv4Unicast.Peers["10.8.0.11"]; err != nil || p.PfxSnt < 100 || p.PfxRcd != 2 {
			return fmt.Sprintf("FRR has sent %d prefixes and received %d, want 100 and more, and 2: %v", p.PfxSnt, p.PfxRcd, err)
		}
		return ""
	})
	// Neither router has what is for the other, nor what the other sent us.
	time.Sleep(500 * time.Millisecond)
	if out := bird.Show("show route count"); !strings.Contains(out, "3 of 3 routes for 3 networks") {
		t.Errorf("BIRD has %s", out)
	}
	if p := paths(frr, "198.51.100.12/32"); len(p) != 0 {
		t.Errorf("FRR has a route that is BIRD's: %+v", p)
	}
	for _, name := range []string{"frr", "bird"} {
		if p := n.peer(name); p.State != Established || p.Routes != 3 || p.Withheld != "" {
			t.Errorf("%+v", p)
		}
	}
}

func containsAll(s, parts string) bool {
	for _, p := range strings.Split(parts, " BGP.") {
		if !strings.Contains(s, strings.TrimPrefix(p, "BGP.")) {
			return false
		}
	}
	return true
}

func TestTenThousandPrefixes(t *testing.T) {
	t.Parallel()
	const count = 10000
	r := newRack(t, 1)
	frr := r.router.FRR(strings.Replace(bgpd(64513, "10.8.0.11"), "timers 1 3", "timers 30 90", 1))
	n := startAnnouncer(t, r.nodes[0])
	sessions := []plan.Session{tor("tor", "10.8.0.1", 64512, config.NonTransitive)}
	sessions[0].HoldTime, sessions[0].KeepaliveTime = 90*time.Second, 30*time.Second
	many := func(weight int) (routes []string) {
		for i := range count {
			routes = append(routes, fmt.Sprintf("100.64.%d.%d/32 %d", i/256, i%256, weight))
		}
		return routes
	}
	arrives := func(what string, weight int) (updates int) {
		before := updatesFrom(frr)
		var took answer
		d := timed(func() {
			took = n.apply(table(1, 64513, sessions, many(weight)...))
			netlab.Eventually(t, 60*time.Second, func() string {
				if got := prefixesFrom(frr); got != count {
					return fmt.Sprintf("FRR has %d prefixes", got)
				}
				last := paths(frr, fmt.Sprintf("100.64.%d.%d/32", (count-1)/256, (count-1)%256))
				if len(last) != 1 || !strings.HasPrefix(last[0].ExtendedCommunity.String, fmt.Sprintf("LB:64513:%d ", weight)) {
					return fmt.Sprintf("the last one is %+v", last)
				}
				return ""
			})
		})
		updates = updatesFrom(frr) - before
		t.Logf("%s: Apply took %v, all in bgpd after %v, in %d UPDATEs; the announcer has %s", what, took.Took.Round(time.Millisecond), d, updates, memory(n.PID()))
		return updates
	}
	if updates := arrives("before the session is up", 1); updates > 50 {
		t.Errorf("%d UPDATEs for %d prefixes", updates, count)
	}
	// How many these take depends on how fast gobgp's sender is, as it does not
	// wait for the end of a call.
	arrives("another weight", 2)
	n.apply(table(1, 64513, sessions))
	t.Logf("all withdrawn after %v", netlab.Eventually(t, 10*time.Second, func() string {
		if got := prefixesFrom(frr); got != 0 {
			return fmt.Sprintf("FRR still has %d prefixes", got)
		}
		return ""
	}))
	arrives("while the session is up", 3)
}

func prefixesFrom(r *netlab.FRR) int {
	var v struct {
		Peers map[string]struct{ PfxRcd int }
	}
	if err := r.ShowJSON("show bgp ipv4 unicast summary json", &v); err != nil {
		return -1
	}
	return v.Peers["10.8.0.11"].PfxRcd
}

func updatesFrom(r *netlab.FRR) int {
	var v map[string]struct{ MessageStats struct{ UpdatesRecv int } }
	if err := r.ShowJSON("show bgp neighbors 10.8.0.11 json", &v); err != nil {
		return -1
	}
	return v["10.8.0.11"].MessageStats.UpdatesRecv
}

func memory(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(s)
		}
	}
	return "?"
}
