package bgp

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

func TestMarkOfANode(t *testing.T) {
	head, mtu := make([]byte, headLen), []byte{5, 1, 0, 0, 0, 0, 5, 220}
	for _, tc := range []struct {
		name string
		m    [][]byte
		want bool
	}{
		{"a router's without options", [][]byte{head}, false},
		{"a router's with an MTU", [][]byte{head, mtu}, false},
		{"ours", [][]byte{advertisement()}, true},
		{"the mark after another option", [][]byte{head, mtu, mark}, true},
		{"somebody else's experiment", [][]byte{head, {253, 1, 'o', 't', 'h', 'e', 'r', 's'}}, false},
		{"the mark within a longer option", [][]byte{head, {253, 2}, mark, make([]byte, 6)}, false},
		{"an option without length", [][]byte{head, make([]byte, 8), mark}, false},
		{"an option that is cut off", [][]byte{head, {253, 2, 'h', 'e', 'r', 'a', 'l', 'd'}}, false},
		{"a mark that is cut off", [][]byte{head, mark[:7]}, false},
	} {
		var m []byte
		for _, part := range tc.m {
			m = append(m, part...)
		}
		if got := marked(m); got != tc.want {
			t.Errorf("%s: marked is %v", tc.name, got)
		}
	}
}

// startWithout starts an announcer that lacks a capability.
func startWithout(tb testing.TB, n *netlab.Node, capability string) *remote {
	tb.Helper()
	cmd := n.Command("setpriv", "--bounding-set", "-"+capability, "--inh-caps", "-"+capability, executable(tb))
	return startRemote(tb, n.Name, cmd, n.StartCommand)
}

// TestListeningWithoutTheRight must come with what gives it.
func TestListeningWithoutTheRight(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	node := r.nodes[0]
	n := startWithout(t, node, "net_raw")
	s := tor("tor", "10.8.0.1", 64512, "")
	s.Address, s.Interface = netip.Addr{}, "eth0"
	n.apply(table(1, 64513, []plan.Session{s}))
	n.saysOf("tor", "cannot listen for router advertisements on eth0: listen ip6:ipv6-icmp "+linkLocal(t, node).WithZone("eth0").String()+
		": socket: operation not permitted: it takes the capability NET_RAW, which manifests/overlays/layer2 and full give")
	said := func(log string) int { return strings.Count(log, `msg="bgp session not established"`) }
	before, _ := os.ReadFile(n.Log)
	time.Sleep(4 * time.Second)
	if after, _ := os.ReadFile(n.Log); said(string(after)) != said(string(before)) {
		t.Error("the log says it again and again")
	}
}

// TestNodesOnOneSegment must not take each other for the router, which here is no
// default router either.
func TestNodesOnOneSegment(t *testing.T) {
	t.Parallel()
	r := newRack(t, 2)
	conf := "router bgp 64512\n bgp router-id 10.8.0.1\n no bgp ebgp-requires-policy\n"
	var nodes []*remote
	for i, n := range r.nodes {
		conf += fmt.Sprintf(" neighbor %[1]s remote-as 64513\n neighbor %[1]s interface eth0\n neighbor %[1]s timers 1 3\n"+
			" neighbor %[1]s timers connect 1\n neighbor %[1]s capability extended-nexthop\n", linkLocal(t, n))
		s := tor("tor", "10.8.0.1", 64512, "")
		s.Address, s.Interface = netip.Addr{}, "eth0"
		nodes = append(nodes, startAnnouncer(t, n))
		nodes[i].apply(table(i+1, 64513, []plan.Session{s}, "198.51.100.10/32 1"))
	}
	frr := r.router.FRR(conf)
	frr.Configure("interface eth0", "no ipv6 nd suppress-ra", "ipv6 nd ra-interval 1", "ipv6 nd ra-lifetime 0")
	up := func() string {
		for i, n := range nodes {
			if p := n.peer("tor"); p.State != Established || p.Address != linkLocal(t, r.router).WithZone("eth0") {
				return fmt.Sprintf("the session of node %d is %+v", i+1, p)
			}
		}
		return ""
	}
	netlab.Eventually(t, 25*time.Second, up)
	// Each node advertises itself every 5 s.
	netlab.Always(t, 2*advertiseEvery, up)
}
