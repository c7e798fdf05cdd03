package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

func flowSpecs(t testing.TB) map[string]FlowSpec {
	m1, m2 := mac(t, "02:00:00:00:00:fe"), mac(t, "02:00:00:00:00:fd")
	addrs := func(texts ...string) (out []netip.Addr) {
		for _, x := range texts {
			out = append(out, addrOf(x))
		}
		return out
	}
	return map[string]FlowSpec{
		"nothing":             {},
		"an address":          {Addrs: addrs("10.200.0.1"), Links: []string{"eth0"}},
		"a router, no link":   {Addrs: addrs("10.200.0.1"), Routers: []net.HardwareAddr{m1}},
		"two of each":         {Addrs: addrs("fd00:200::1", "10.200.0.2", "fd00:200::2", "10.200.0.1", "10.200.0.2"), Routers: []net.HardwareAddr{m1, m2, m1}, Links: []string{"eth1", "eth0", "eth1"}},
		"one that has no MAC": {Addrs: addrs("10.200.0.1"), Routers: []net.HardwareAddr{nil}, Links: []string{"tun0"}},
	}
}

// TestFlowsRuleset compares the model's text with what is written down, and both
// with what nft reads out of the kernel.
func TestFlowsRuleset(t *testing.T) {
	node := netlab.New(t).Node("node")
	for name, spec := range flowSpecs(t) {
		t.Run(name, func(t *testing.T) {
			got := spec.Ruleset()
			file := filepath.Join("testdata", "flows", strings.NewReplacer(" ", "-", ",", "").Replace(name)+".nft")
			if *update {
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("another ruleset (-golden +model):\n%s", diff)
			}
			f := NewFlows(nil)
			node.Inside(t, func() {
				if err := errors.Join(f.Remove(t.Context()), f.Set(t.Context(), spec)); err != nil {
					t.Error(err)
				}
			})
			if diff := cmp.Diff(got, node.Run("nft", "list", "ruleset")); diff != "" {
				t.Errorf("nft shows something else (-model +nft):\n%s", diff)
			}
		})
	}
}

// flowNode is a node of the lab for flow rescue that counts.
type flowNode struct {
	*rescueNode
	t     *testing.T
	flows *Flows
	spec  FlowSpec
}

const routerMAC = "02:00:00:00:00:fe"

// newFlowNode is a lab with one node, which answers TCP on port 80 and UDP on port
// 90, but drops what comes to port 91.
func newFlowNode(t *testing.T) (*rescueLab, *flowNode) {
	l := newRescueLab(t, 0, 0)
	l.router.Run("ip", "link", "set", "lan0", "address", routerMAC)
	l.weights(1)
	n := &flowNode{rescueNode: l.nodes[0], t: t, flows: NewFlows(nil)}
	var rules strings.Builder
	for _, f := range []struct{ family, vip, pod string }{{"ip", vip4, "10.244.1.2"}, {"ip6", vip6, "fd44:1::2"}} {
		fmt.Fprintf(&rules, "table %s kp {\nchain services {\n%s daddr %s udp dport 90 dnat to %s\n}\nchain forward {\n%s daddr %s drop\n}\n}\n",
			f.family, f.family, f.vip, f.pod, f.family, f.vip)
	}
	n.Run("nft", rules.String())
	serveDatagrams(t, n.pods, "10.244.1.2:90")
	serveDatagrams(t, n.pods, "[fd44:1::2]:90")
	n.spec = FlowSpec{Addrs: []netip.Addr{addrOf(vip4), addrOf(vip6)}, Routers: []net.HardwareAddr{mac(t, routerMAC)}, Links: []string{"eth0"}}
	n.set()
	return l, n
}

func serveDatagrams(t *testing.T, n *netlab.Node, addr string) {
	n.Inside(t, func() {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = c.Close() })
		go func() {
			b := make([]byte, 100)
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(b[:n], from)
			}
		}()
	})
}

func (n *flowNode) set() {
	n.t.Helper()
	n.Inside(n.t, func() {
		if err := n.flows.Set(n.t.Context(), n.spec); err != nil {
			n.t.Error(err)
		}
	})
}

// counts are those of an address: all, by the router, by others.
func (n *flowNode) counts(addr string) (out [3]uint64) {
	n.t.Helper()
	n.Inside(n.t, func() {
		got, err := n.flows.Read(n.t.Context())
		if err != nil {
			n.t.Error(err)
		}
		c := got[addrOf(addr)]
		out = [3]uint64{c.All, c.ByRouter[RouterMAC(mac(n.t, routerMAC))], c.Others}
	})
	return out
}

// adds checks what an action adds to the counts of an address.
func (n *flowNode) adds(what, addr string, all, router, others uint64, do func()) {
	n.t.Helper()
	before := n.counts(addr)
	do()
	after := n.counts(addr)
	got := [3]uint64{after[0] - before[0], after[1] - before[1], after[2] - before[2]}
	if want := [3]uint64{all, router, others}; got != want {
		n.t.Errorf("%s to %s: all, by the router, by others: %d, not %d", what, addr, got, want)
	}
}

// datagrams sends some from one port, and waits for the answers if there are to be
// any.
func datagrams(t *testing.T, from *netlab.Node, local int, to string, many int, answered bool) {
	t.Helper()
	from.Inside(t, func() {
		peer, err := net.ResolveUDPAddr("udp", to)
		if err != nil {
			t.Error(err)
			return
		}
		c, err := net.DialUDP("udp", &net.UDPAddr{Port: local}, peer)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		for range many {
			_, err = c.Write([]byte("x"))
		}
		for range many {
			if answered && err == nil {
				_, err = c.Read(make([]byte, 9))
			}
		}
		if err != nil {
			t.Errorf("datagrams to %s: %v", to, err)
		}
	})
}

func TestFlowsCountWhatIsNew(t *testing.T) {
	l, n := newFlowNode(t)
	for _, addr := range []string{vip4, vip6} {
		dst := func(port string) string { return net.JoinHostPort(addr, port) }
		var conns []net.Conn
		n.adds("7 connections", addr, 7, 7, 0, func() { conns = l.dial(addr, 7) })
		n.adds("what goes over them", addr, 0, 0, 0, func() {
			for _, c := range conns {
				if _, err := ask(c, '.'); err != nil {
					t.Error(err)
				}
			}
		})
		n.adds("12 datagrams of one flow", addr, 1, 1, 0, func() { datagrams(t, l.client, 4000, dst("90"), 12, true) })
		n.adds("more of it", addr, 0, 0, 0, func() { datagrams(t, l.client, 4000, dst("90"), 2, true) })
		n.adds("another flow", addr, 1, 1, 0, func() { datagrams(t, l.client, 4001, dst("90"), 1, true) })
		n.adds("a flow from the same port after conntrack has forgotten it", addr, 1, 0, 0, func() {
			n.forgetConntrack()
			datagrams(t, l.client, 4000, dst("90"), 1, true)
		})
		n.adds("and after we have forgotten it", addr, 2, 1, 0, func() {
			n.Inside(t, func() {
				if err := n.flows.Forget(t.Context(), []netip.Addr{addrOf(addr)}); err != nil {
					t.Error(err)
				}
			})
			for range 2 {
				n.forgetConntrack()
				datagrams(t, l.client, 4000, dst("90"), 1, true)
			}
		})
		// No answer comes back, so each is new to conntrack.
		n.adds("3 datagrams that are dropped", addr, 3, 1, 0, func() { datagrams(t, l.client, 4002, dst("91"), 3, false) })
		n.adds("a pod's datagram", addr, 0, 0, 0, func() { datagrams(t, n.pods, 4003, dst("90"), 1, false) })
		n.adds("the node's own", addr, 0, 0, 0, func() { datagrams(t, n.Node, 4003, dst("91"), 1, false) })
		n.adds("packets to another address", addr, 0, 0, 0, func() {
			_, _ = l.router.Try("bash", "-c", "echo >/dev/udp/"+n.v4()+"/9; echo >/dev/udp/"+n.v6()+"/9")
		})
	}
	// A neighbour that sends straight to the node.
	l.nodes[1].Run("ip", "route", "add", vip4, "via", n.v4())
	n.adds("a neighbour's flow", vip4, 1, 0, 1, func() { datagrams(t, l.nodes[1].Node, 4004, vip4+":90", 1, true) })
}

func (n *flowNode) forgetConntrack() {
	n.t.Helper()
	n.Inside(n.t, func() {
		if err := flushConntrack(); err != nil {
			n.t.Error(err)
		}
	})
}

// A packet of the middle of a connection is not of a new one, although conntrack
// takes it for the first.
func TestFlowsThatMovedAreNotNew(t *testing.T) {
	_, n := newFlowNode(t)
	s := n.sender(t, [][]byte{ackFrame(n.rescueNode, [4]byte{10, 50, 0, 1}, 4000)})
	n.adds("a packet of the middle", vip4, 0, 0, 0, func() { s.send() })

	syn := ackFrame(n.rescueNode, [4]byte{10, 50, 0, 2}, 4000)
	syn[14+20+13] = 2
	address(syn, [4]byte{10, 50, 0, 2}, 4000)
	s = n.sender(t, [][]byte{syn})
	n.pods.Run("nft", "table ip x {\nchain y {\ntype filter hook prerouting priority raw\ndrop\n}\n}") // the pod is silent
	n.adds("a SYN that comes five times", vip4, 1, 1, 0, func() {
		for range 5 {
			s.send()
		}
	})
	n.pods.Run("nft", "delete table ip x")
	synAck := ackFrame(n.rescueNode, [4]byte{10, 50, 0, 3}, 4000)
	synAck[14+20+13] = 0x12
	address(synAck, [4]byte{10, 50, 0, 3}, 4000)
	s = n.sender(t, [][]byte{synAck})
	n.adds("a SYN and ACK", vip4, 0, 0, 0, func() { s.send() })
}

// What flow rescue sends from node to node is not new anywhere.
func TestFlowsThatAreRescuedAreNotNew(t *testing.T) {
	l := newRescueLab(t, 0, 0)
	var nodes []*flowNode
	for _, r := range l.nodes {
		n := &flowNode{rescueNode: r, t: t, flows: NewFlows(nil)}
		n.spec = FlowSpec{Addrs: []netip.Addr{addrOf(vip4)}, Links: []string{"eth0"}}
		n.set()
		nodes = append(nodes, n)
	}
	l.rescue(true)
	l.weights(1, 0)
	clients := l.open(vip4, 20)
	time.Sleep(200 * time.Millisecond)
	l.weights(0, 1)
	moved := time.Now()
	time.Sleep(time.Second)
	if v := judge(clients, moved); v.broken() > 0 {
		t.Errorf("%d of 20 are broken", v.broken())
	}
	closeAll(clients)
	if c := l.counters(); c.Directed == 0 {
		t.Errorf("nothing was rescued: %+v", c)
	}
	for i, want := range []uint64{20, 0} {
		if got := nodes[i].counts(vip4)[0]; got != want {
			t.Errorf("node %d counts %d new flows, not %d", i+1, got, want)
		}
	}
}

// What changes leaves the counts of the rest as they are, and who changes our
// tables is noticed.
func TestFlowsKeepTheirCounts(t *testing.T) {
	l, n := newFlowNode(t)
	l.dial(vip4, 5)
	l.dial(vip6, 3)
	keeps := func(what string) {
		t.Helper()
		n.set()
		if got := n.counts(vip4); got != [3]uint64{5, 5, 0} {
			t.Errorf("%s: the counts are %d", what, got)
		}
	}
	keeps("the same again")
	n.spec.Addrs = append(n.spec.Addrs, addrOf("10.200.0.9"))
	keeps("an address more")
	n.spec.Routers = append(n.spec.Routers, mac(t, "02:00:00:00:00:fd"))
	keeps("a router more")
	n.spec.Links = append(n.spec.Links, "eth1")
	keeps("a link more")
	n.spec.Addrs = n.spec.Addrs[:1]
	keeps("no address of IPv6 any more")
	if got := n.counts(vip6); got != [3]uint64{} {
		t.Errorf("of an address that has gone there are %d", got)
	}
	n.Run("nft", bystander)
	keeps("somebody's change elsewhere")
	l.dial(vip4, 2)
	if got := n.counts(vip4); got != [3]uint64{7, 7, 0} {
		t.Errorf("2 connections more: %d", got)
	}
	for _, what := range []string{"flush chain ip herald-flows first", "delete table ip herald-flows", "delete element ip herald-flows others { 10.200.0.1 }"} {
		n.Run("nft", what)
		n.set()
		if diff := cmp.Diff(sortedLines(bystander+n.spec.Ruleset()), sortedLines(withoutProxy(n.Run("nft", "list ruleset")))); diff != "" {
			t.Errorf("after %q nft shows something else (-model +nft):\n%s", what, diff)
		}
	}
	// A process that follows one that was killed begins at zero.
	l.dial(vip4, 2)
	n.flows = NewFlows(nil)
	n.set()
	if got := n.counts(vip4); got != [3]uint64{} {
		t.Errorf("a new process finds %d", got)
	}
	n.Inside(t, func() {
		if err := errors.Join(n.flows.Remove(t.Context()), n.flows.Remove(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if got := withoutProxy(n.Run("nft", "list ruleset")); got != bystander {
		t.Errorf("after Remove there is\n%s", got)
	}
}

// withoutProxy leaves out the lab's kube-proxy.
func withoutProxy(text string) string {
	var keep []string
	for _, t := range strings.SplitAfter(text, "\n}\n") {
		if !strings.HasPrefix(t, "table ip kp ") && !strings.HasPrefix(t, "table ip6 kp ") {
			keep = append(keep, t)
		}
	}
	return strings.Join(keep, "")
}

func TestFlowsProbe(t *testing.T) {
	lab := netlab.New(t)
	node, far := lab.Node("node"), lab.Node("far")
	lab.Pair(node, "eth0", far, "eth0")
	node.Addr("eth0", "10.0.0.1/24", "fd00::1/64")
	far.Addr("eth0", "10.0.0.2/24", "fd00::2/64")
	probe := func(v6 bool) (err error) {
		node.Inside(t, func() { err = NewFlows(nil).Probe(t.Context(), v6) })
		return err
	}
	for _, v6 := range []bool{false, true} {
		if err := probe(v6); !errors.Is(err, errNoConntrack) {
			t.Errorf("IPv6 %t, without conntrack: %v", v6, err)
		}
	}
	const tracker = "table inet x {\n\tchain in {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tct state established accept\n\t}\n}\n"
	node.Run("nft", tracker)
	for _, addr := range []string{"10.0.0.2", "fd00::2"} { // something must have been tracked
		_, _ = node.Try("bash", "-c", "echo >/dev/udp/"+addr+"/9")
	}
	for _, v6 := range []bool{false, true} {
		if err := probe(v6); err != nil {
			t.Errorf("IPv6 %t: %v", v6, err)
		}
	}
	if got := node.Run("nft", "list ruleset"); got != tracker {
		t.Errorf("the probe has left\n%s", got)
	}
	err := withoutRights(node, func() error { return NewFlows(nil).Probe(t.Context(), false) })
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "NET_ADMIN") {
		t.Errorf("without the right: %v", err)
	}
}

func TestUplinks(t *testing.T) {
	lab := netlab.New(t)
	node, router, pod, fabric := lab.Node("node"), lab.Node("router"), lab.Node("pod"), lab.Node("fabric")
	lab.Pair(node, "eth0", router, "eth0") // a node in a container has a veth as its uplink
	lab.Pair(node, "eth1", router, "eth1")
	lab.Pair(node, "eth2", fabric, "eth0")
	lab.Pair(node, "cali0123", pod, "eth0")
	node.Addr("eth0", "10.0.0.1/24", "fd00::1/64")
	node.Addr("eth1", "10.1.0.1/24")
	node.Addr("eth2", "10.2.0.1/24")
	node.Run("ip", "link", "add", "lan0", "type", "bridge")
	node.Addr("lan0", "10.244.0.1/24")
	look := func(h UplinkHints) string {
		var names []string
		node.Inside(t, func() {
			var err error
			if names, err = Uplinks(t.Context(), h); err != nil {
				t.Error(err)
			}
		})
		var ours []string // the kernel may make tunnels by itself
		for _, n := range names {
			if n == "lan0" || n == "cali0123" || strings.HasPrefix(n, "eth") {
				ours = append(ours, n)
			}
		}
		return strings.Join(ours, " ")
	}
	for _, tt := range []struct {
		what  string
		hints UplinkHints
		want  string
	}{
		{"nothing is known", UplinkHints{}, ""},
		{"a peer", UplinkHints{Peers: []netip.Addr{addrOf("10.1.0.9")}}, "eth1"},
		{"a peer that cannot be reached", UplinkHints{Peers: []netip.Addr{addrOf("192.0.2.1")}}, ""},
		{"an unnumbered peer", UplinkHints{Peers: []netip.Addr{addrOf("fe80::1%eth2")}}, "eth2"},
		{"the own address", UplinkHints{Own: []netip.Addr{addrOf("fd00::1")}}, "eth0"},
		{"by name", UplinkHints{Links: []string{"lan0", "none"}}, "lan0"},
	} {
		if got := look(tt.hints); got != tt.want {
			t.Errorf("%s: %q, not %q", tt.what, got, tt.want)
		}
	}
	node.Run("ip", "route", "add", "default", "nexthop", "via", "10.0.0.9", "nexthop", "via", "10.2.0.9")
	if got := look(UplinkHints{}); got != "eth0 eth2" {
		t.Errorf("the links of the default route: %q", got)
	}
}

func TestKindsOfUplinks(t *testing.T) {
	for name, up := range map[string]bool{
		"device": true, "bond": true, "vlan": true, "wireguard": true, "gre": true, "vrf": true,
		"veth": false, "bridge": false, "tuntap": false, "vxlan": false, "dummy": false, "netkit": false, "openvswitch": false,
	} {
		got := uplinks([]Link{eth("x", kind(name))}, UplinkHints{}, nil)
		if (len(got) == 1) != up {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := uplinks([]Link{eth("lo", loopback), eth("cilium_wg0", kind("wireguard"))}, UplinkHints{}, nil); got != nil {
		t.Errorf("uplinks are %v", got)
	}
}

func (n *flowNode) remove() {
	n.t.Helper()
	n.Inside(n.t, func() {
		if err := n.flows.Remove(n.t.Context()); err != nil {
			n.t.Error(err)
		}
	})
}

// A flood fills the memory of what was seen, and no more: flows are counted on.
func TestFlowsWithoutRoom(t *testing.T) {
	_, n := newFlowNode(t)
	s := n.opening(t, 100)
	sent := 0
	for sent < flowSeenMost+5000 {
		sent += s.send()
	}
	if got, want := n.counts(vip4), uint64(sent); got != [3]uint64{want, want, 0} {
		t.Errorf("of %d new flows %d were counted", want, got)
	}
	if seen := n.seen(); seen != flowSeenMost {
		t.Errorf("%d are remembered, not %d", seen, flowSeenMost)
	}
	began := time.Now()
	n.Inside(t, func() {
		if err := n.flows.Forget(t.Context(), n.spec.Addrs); err != nil {
			t.Error(err)
		}
	})
	t.Logf("to forget %d took %v", flowSeenMost, time.Since(began))
	if seen := n.seen(); seen != 0 {
		t.Errorf("%d are remembered still", seen)
	}
}

func (n *flowNode) seen() int {
	return strings.Count(n.Run("nft", "list set ip herald-flows seen"), "expires")
}

// A large cluster's addresses, of two routers.
func TestFlowsOfManyAddresses(t *testing.T) {
	node := netlab.New(t).Node("node")
	spec := FlowSpec{Links: []string{"eth0"}, Routers: []net.HardwareAddr{mac(t, routerMAC), mac(t, "02:00:00:00:00:fd")}}
	for i := range 1000 {
		spec.Addrs = append(spec.Addrs, addrOf(fmt.Sprintf("10.200.%d.%d", i/250, i%250)), addrOf(fmt.Sprintf("fd00:200::%x", i)))
	}
	f := NewFlows(nil)
	node.Inside(t, func() {
		times := map[string]time.Duration{}
		timed := func(what string, do func() error) {
			began := time.Now()
			if err := do(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			times[what] = time.Since(began)
		}
		timed("made", func() error { return f.Set(t.Context(), spec) })
		timed("the same", func() error { return f.Set(t.Context(), spec) })
		timed("one more", func() error {
			spec.Addrs = append(spec.Addrs, addrOf("10.200.9.9"))
			return f.Set(t.Context(), spec)
		})
		timed("read", func() error {
			got, err := f.Read(t.Context())
			if len(got) != 2001 || len(got[addrOf("10.200.9.9")].ByRouter) != 2 {
				t.Errorf("%d addresses are told of", len(got))
			}
			return err
		})
		t.Logf("2,000 addresses and 2 routers: %v", times)
	})
}
