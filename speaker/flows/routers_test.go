package flows_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/router"
	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/plan"
)

const (
	vip4, vip6 = "198.51.100.10", "2001:db8:5::10"
	torA, torB = "10.8.0.1", "10.8.0.2"
)

var pods = []uint32{1, 3, 4}

// rack is a client, a router in AS 64512, and three nodes in AS 64513, with the pods
// 1, 3 and 4. Node i is 10.8.0.(10+i) and fd08::(10+i).
type rack struct {
	t              *testing.T
	lab            *netlab.Lab
	lan            *netlab.Switch
	client, router *netlab.Node
	nodes          []*remote
	peers          []string // of the nodes
	encodings      config.Encodings
	form           config.LinkBandwidthForm
	ports          int // of the client, that have been used
}

func newRack(t *testing.T) *rack {
	t.Helper()
	lab := netlab.New(t)
	r := &rack{
		t: t, lab: lab, lan: lab.Switch("sw"), client: lab.Node("c"), router: lab.Node("r"), peers: []string{torA},
		encodings: config.EncodeLinkBandwidth | config.EncodeCommunity, form: config.Both, ports: 10000,
	}
	r.uplink(r.router, "eth1", 9, torA+"/24", "fd08::1/64")
	r.client.Run("ip", "route", "add", "default", "via", "10.9.0.1")
	r.client.Run("ip", "-6", "route", "add", "default", "via", "fd09::1")
	for i := range pods {
		n := r.host(fmt.Sprintf("n%d", i+1), 11+i)
		r.nodes = append(r.nodes, startNode(t, n))
	}
	return r
}

// uplink connects a router to the client, by a subnet of its own, and to the nodes.
func (r *rack) uplink(n *netlab.Node, name string, subnet int, addrs ...string) {
	r.lab.Pair(r.client, fmt.Sprintf("to-%s", n.Name), n, name)
	n.Addr(name, fmt.Sprintf("10.%d.0.1/24", subnet), fmt.Sprintf("fd%02d::1/64", subnet))
	r.client.Addr(fmt.Sprintf("to-%s", n.Name), fmt.Sprintf("10.%d.0.2/24", subnet), fmt.Sprintf("fd%02d::2/64", subnet))
	r.lan.Attach(n, "eth0", addrs...)
}

// host is on the nodes' switch, and answers for the addresses of the Service. It has
// a chain of nat as kube-proxy has.
func (r *rack) host(name string, number int) *netlab.Node {
	n := r.lab.Node(name)
	r.lan.Attach(n, "eth0", fmt.Sprintf("10.8.0.%d/24", number), fmt.Sprintf("fd08::%d/64", number))
	n.Run("ip", "route", "add", "default", "via", torA)
	n.Run("ip", "-6", "route", "add", "default", "via", "fd08::1")
	for _, v := range []string{vip4, vip6} {
		n.Run("ip", "address", "add", v, "dev", "lo")
	}
	n.Run("nft", "table inet kp {\nchain services {\ntype nat hook prerouting priority dstnat\nudp dport 80 redirect to :8080\n}\n}")
	return n
}

// announce has the nodes announce, and waits for their sessions.
func (r *rack) announce() {
	r.t.Helper()
	at := map[string]netip.Addr{}
	for i := range r.nodes {
		at[fmt.Sprintf("n%d", i+1)] = netip.MustParseAddr(fmt.Sprintf("10.8.0.%d", 11+i))
	}
	for i, n := range r.nodes {
		n.tell(order{Table: r.table(i), Nodes: at})
	}
	netlab.Eventually(r.t, 30*time.Second, func() string {
		for i, n := range r.nodes {
			if up := n.tell(order{}).Up; up < len(r.peers) {
				return fmt.Sprintf("n%d has %d sessions", i+1, up)
			}
		}
		return ""
	})
}

func (r *rack) table(i int) *plan.Table {
	t := &plan.Table{
		Self: fmt.Sprintf("n%d", i+1), ASN: 64513, RouterID: netip.MustParseAddr(fmt.Sprintf("10.8.0.%d", 11+i)),
		NextHops: plan.NextHops{IPv4: netip.MustParseAddr(fmt.Sprintf("10.8.0.%d", 11+i)), IPv6: netip.MustParseAddr(fmt.Sprintf("fd08::%d", 11+i))},
	}
	for k, a := range r.peers {
		s := plan.Session{
			Name: fmt.Sprintf("tor-%c", 'a'+k), Address: netip.MustParseAddr(a), Port: 179, ASN: 64512,
			HoldTime: 9 * time.Second, KeepaliveTime: 3 * time.Second, ConnectRetryTime: 2 * time.Second,
			Weights: r.encodings, LinkBandwidth: r.form, Community: config.CommunityWeights{ASN: 64513, Base: 10000},
		}
		t.Sessions = append(t.Sessions, s)
		for _, v := range []string{vip4, vip6} {
			a := netip.MustParseAddr(v)
			t.Routes = append(t.Routes, plan.Route{Peer: s.Name, Prefix: netip.PrefixFrom(a, a.BitLen()), Weight: pods[i]})
		}
	}
	for _, v := range []string{vip4, vip6} {
		d := plan.Decision{Service: "default/web", Addr: netip.MustParseAddr(v), Announce: true, Weight: pods[i]}
		for k, w := range pods {
			d.Nodes = append(d.Nodes, plan.NodeWeight{Node: fmt.Sprintf("n%d", k+1), Weight: w})
		}
		t.Decisions = append(t.Decisions, d)
	}
	return t
}

// bgpd is a router's configuration, with lines of its own.
func bgpd(more string, neighbors ...string) string {
	var b strings.Builder
	b.WriteString("router bgp 64512\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n neighbor N peer-group\n neighbor N remote-as 64513\n neighbor N timers connect 1\n")
	b.WriteString(more)
	for _, n := range append([]string{"10.8.0.11", "10.8.0.12", "10.8.0.13"}, neighbors...) {
		fmt.Fprintf(&b, " neighbor %s peer-group N\n", n)
	}
	b.WriteString(" address-family ipv4 unicast\n  neighbor N activate\n exit-address-family\n address-family ipv6 unicast\n  neighbor N activate\n exit-address-family\n")
	return b.String()
}

// bird is the configuration of BIRD, with the filter of docs/configuration.md.
func bird() string {
	var b strings.Builder
	b.WriteString(router.BIRDFilter("from_herald", config.CommunityWeights{ASN: 64513, Base: 10000}))
	b.WriteString("router id 10.8.0.1;\nprotocol device {}\n")
	for _, f := range []string{"ipv4", "ipv6"} {
		fmt.Fprintf(&b, "protocol kernel { merge paths on limit 32; %s { import none; export all; }; }\n", f)
	}
	for i := range pods {
		fmt.Fprintf(&b, "protocol bgp n%d { local as 64512; neighbor 10.8.0.%d as 64513; connect retry time 1;\n"+
			" ipv4 { import filter from_herald; export none; }; ipv6 { import filter from_herald; export none; }; }\n", i+1, 11+i)
	}
	return b.String()
}

// hops waits until a router's kernel has so many next hops for both addresses.
func (r *rack) hops(n *netlab.Node, want int) {
	r.t.Helper()
	netlab.Eventually(r.t, 30*time.Second, func() string {
		for _, argv := range [][]string{{"route", "show", "root", vip4}, {"-6", "route", "show", "root", vip6}} {
			if out, _ := n.Try("ip", argv...); strings.Count(out, "via ") != want {
				return fmt.Sprintf("not %d next hops: %s", want, out)
			}
		}
		return ""
	})
}

// counting begins to count anew, and waits until samples of both addresses are taken.
func (r *rack) counting() {
	r.t.Helper()
	for _, n := range r.nodes {
		n.tell(order{Count: true})
	}
	netlab.Eventually(r.t, 10*time.Second, func() string {
		for i, n := range r.nodes {
			report := n.tell(order{}).Report
			for _, v := range []string{vip4, vip6} {
				if a, ok := report.Of(netip.MustParseAddr(v)); !ok || a.Samples < 2 {
					return fmt.Sprintf("n%d, %s: %+v", i+1, v, report)
				}
			}
		}
		return ""
	})
}

// send sends a datagram from each of so many ports that have not been used, over
// a second or so.
func (r *rack) send(to string, flows int) {
	r.t.Helper()
	var failed error
	r.client.Inside(r.t, func() {
		for i := 0; i < flows && failed == nil; i++ {
			failed = datagram(r.ports+i, netip.MustParseAddr(to))
			if i%(flows/20) == 0 {
				time.Sleep(50 * time.Millisecond)
			}
		}
	})
	if r.ports += flows; r.ports > 60000 {
		r.ports = 10000
	}
	if failed != nil {
		r.t.Fatal(failed)
	}
}

func datagram(port int, to netip.Addr) error {
	family := unix.AF_INET6
	var from, dest unix.Sockaddr = &unix.SockaddrInet6{Port: port}, &unix.SockaddrInet6{Port: 80, Addr: to.As16()}
	if to.Is4() {
		family = unix.AF_INET
		from, dest = &unix.SockaddrInet4{Port: port}, &unix.SockaddrInet4{Port: 80, Addr: to.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, from); err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), 0, dest)
}

// verdict waits until n1, who judges, has one of a kind about so many flows, and
// returns what was called wrong until then.
func (r *rack) verdict(of string, kind share.Kind, flows uint64) (v share.Verdict, wrong []string) {
	r.t.Helper()
	netlab.Eventually(r.t, 10*time.Second, func() string {
		a := r.nodes[0].tell(order{})
		wrong = a.Wrong
		for _, v = range a.Verdicts {
			if v.Addr == netip.MustParseAddr(of) && v.Flows >= flows && v.Kind == kind {
				return ""
			}
		}
		return fmt.Sprintf("the verdicts are %+v; not heard are %v", a.Verdicts, a.Unheard)
	})
	return v, wrong
}

// A router that ignores weights is named within 1,000 flows.
func TestRoutersThatIgnoreWeights(t *testing.T) {
	for _, tt := range []struct {
		what  string
		setUp func(*rack)
		says  string
	}{
		{"FRR 10.3, nonTransitive alone", func(r *rack) {
			r.encodings, r.form = config.EncodeLinkBandwidth, config.NonTransitive
			r.router.FRROf("frr-10.3", bgpd(""))
			r.announce()
			r.hops(r.router, 3)
		}, "router tor-a (10.8.0.1) seems to ignore weights: n1 should get 12.5 % and got 3"},
		{"FRR without multipath", func(r *rack) {
			r.router.FRROf("frr-10.3", strings.ReplaceAll(bgpd(""), "  neighbor N activate\n", "  neighbor N activate\n  maximum-paths 1\n"))
			r.announce()
			r.hops(r.router, 1)
		}, "got 100.0 % of "},
		{"a path without a weight, of a stranger", func(r *rack) {
			r.router.FRROf("frr-10.3", bgpd("", "10.8.0.14"))
			stranger := startNode(r.t, r.host("x", 14))
			table := r.table(0)
			table.RouterID, table.NextHops = netip.MustParseAddr("10.8.0.14"), plan.NextHops{IPv4: netip.MustParseAddr("10.8.0.14"), IPv6: netip.MustParseAddr("fd08::14")}
			for i := range table.Sessions {
				table.Sessions[i].Weights = config.EncodeNone
			}
			r.announce()
			stranger.tell(order{Table: table})
			r.hops(r.router, 4)
		}, "router tor-a (10.8.0.1) seems to ignore weights: n1 should get 12.5 % and got 3"},
		{"BIRD without the filter", func(r *rack) {
			r.router.BIRD(strings.ReplaceAll(bird(), "import filter from_herald", "import all"))
			r.announce()
			r.hops(r.router, 3)
		}, "router tor-a (10.8.0.1) seems to ignore weights: n1 should get 12.5 % and got 3"},
		{"a hash by addresses alone", func(r *rack) {
			r.router.Run("sysctl", "-qw", "net.ipv4.fib_multipath_hash_policy=0", "net.ipv6.fib_multipath_hash_policy=0")
			r.router.FRR(bgpd(""))
			r.announce()
			r.hops(r.router, 3)
		}, "got 100.0 % of "},
		{"one of two routers", func(r *rack) {
			second := r.lab.Node("r2")
			r.uplink(second, "eth1", 19, torB+"/24", "fd08::2/64")
			r.peers = []string{torA, torB}
			r.router.FRR(bgpd(""))
			second.FRR(bgpd(" bgp bestpath bandwidth ignore\n"))
			r.announce()
			r.hops(r.router, 3)
			r.hops(second, 3)
			// The client's router would spread flows over both.
			r.client.Run("ip", "route", "replace", vip4, "nexthop", "via", "10.9.0.1", "nexthop", "via", "10.19.0.1")
			r.client.Run("ip", "-6", "route", "replace", vip6, "nexthop", "via", "fd09::1", "nexthop", "via", "fd19::1")
		}, "router tor-b (10.8.0.2) seems to ignore weights: n1 should get 12.5 % and got 3"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			r := newRack(t)
			tt.setUp(r)
			for _, v := range []string{vip4, vip6} {
				if strings.Contains(tt.what, "hash") && v == vip6 {
					continue // Linux hashes the flow label, too, which is another one for each socket
				}
				r.counting()
				r.send(v, 1000)
				got, wrong := r.verdict(v, share.Wrong, share.Least)
				if !strings.Contains(got.Says(), tt.says) || len(wrong) != 1 || !strings.Contains(wrong[0], tt.says) {
					t.Errorf("%s: the verdict is %s: %s; told was %q", v, got.Kind, got.Says(), wrong)
				}
				t.Logf("told was %q", wrong)
			}
		})
	}
}

// Routers that honour weights are never called wrong.
func TestRoutersThatHonourWeights(t *testing.T) {
	const runs, flows = 5, 5000
	for _, part := range []string{"frr-8.4", "frr-10.3", "frr-sid", "bird-2.17"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			r := newRack(t)
			if strings.HasPrefix(part, "frr") {
				r.router.FRROf(part, bgpd(""))
			} else {
				r.router.BIRDOf(part, bird())
			}
			r.announce()
			r.hops(r.router, 3)
			for i := range runs {
				v := []string{vip4, vip6}[i%2]
				r.counting()
				r.send(v, flows)
				got, wrong := r.verdict(v, share.Right, flows)
				if len(wrong) > 0 {
					t.Errorf("run %d, %s: told was %q", i, v, wrong)
				}
				t.Logf("%s: %+v", v, got.Nodes)
			}
		})
	}
}
