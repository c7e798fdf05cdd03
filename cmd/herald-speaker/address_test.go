package main

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/netlab"
)

// inside has a test run in a network namespace of its own: by a process of its own,
// which this one waits for. It is true in that process.
func inside(t *testing.T) bool {
	t.Helper()
	const mark = "HERALD_TEST_INSIDE"
	if os.Getenv(mark) != "" {
		return true
	}
	cmd := netlab.New(t).Node("host").Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	return false
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v %s", args, err, out)
	}
}

// apiOf is what the API server says of the nodes.
type apiOf struct {
	now atomic.Pointer[[]cluster.Node]
}

func (a *apiOf) nodes() []cluster.Node { return *a.now.Load() }
func (a *apiOf) say(n ...cluster.Node) { a.now.Store(&n) }
func local(last byte) netip.Addr       { return netip.AddrFrom4([4]byte{10, 9, 0, last}) }
func allKnow(all []*talker, n int) func() bool {
	return func() bool {
		for _, s := range all {
			if !s.knows(n)() {
				return false
			}
		}
		return true
	}
}

// A node gets another address by DHCP while its speaker runs.
func TestTheGossipFollowsTheNodesAddress(t *testing.T) {
	if !inside(t) {
		return
	}
	ip(t, "link", "set", "lo", "up")
	for _, a := range []string{"10.9.0.1/32", "10.9.0.2/32", "10.9.0.3/32"} {
		ip(t, "addr", "add", a, "dev", "lo")
	}
	api := &apiOf{}
	api.say(nodeAt(1, local(1)), nodeAt(2, local(2)), nodeAt(3, local(3)))
	var all []*talker
	for i := 1; i <= 3; i++ {
		s := startTalkerOf(t, i, api.nodes)
		s.ready.Store(true)
		all = append(all, s)
	}
	eventually(t, warmUp+aloneAfter+5*time.Second, "all know all", allKnow(all, 3))

	ip(t, "addr", "add", "10.9.0.11/32", "dev", "lo")
	ip(t, "addr", "del", "10.9.0.1/32", "dev", "lo")
	api.say(nodeAt(1, local(11)), nodeAt(2, local(2)), nodeAt(3, local(3)))
	moved := time.Now()
	eventually(t, 10*time.Second, "n1 is asked at its new address", func() bool {
		for _, m := range all[1].State().Members {
			if m.Node == "n1" && m.Address.Addr() == local(11) {
				return true
			}
		}
		return false
	})
	eventually(t, 5*time.Second, "all know all again", allKnow(all, 3))
	t.Logf("all know all again after %s", time.Since(moved))
	c, err := net.DialTimeout("tcp", netip.AddrPortFrom(local(11), all[0].port).String(), time.Second)
	if err != nil {
		t.Fatalf("n1 does not listen at its new address: %v", err)
	}
	_ = c.Close()
	time.Sleep(3 * time.Second)
	if !allKnow(all, 3)() {
		t.Error("it does not last")
	}
}

// While it moves, n1 takes nobody for dead, and answers for what is its own.
func TestANodeThatMovesOwnsWhatItOwned(t *testing.T) {
	api := &apiOf{}
	at := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, last}) }
	api.say(nodeAt(1, at(1)), nodeAt(2, at(2)))
	one, two := startTalkerOf(t, 1, api.nodes), startTalkerOf(t, 2, api.nodes)
	one.ready.Store(true)
	two.ready.Store(true)
	eventually(t, warmUp+aloneAfter+5*time.Second, "they know each other", allKnow([]*talker{one, two}, 2))
	api.say(nodeAt(1, at(11)), nodeAt(2, at(2)))
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n := len(one.Alive()); n != 2 {
			t.Fatalf("it takes %d nodes to be alive", n)
		}
	}
	eventually(t, 5*time.Second, "two knows one again", two.knows(2))
	if a := one.State().Advertise.Addr(); a != at(11) {
		t.Errorf("it takes part at %s", a)
	}
}

func TestNodesWithOneAddressOwnNothing(t *testing.T) {
	api := &apiOf{}
	same, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	api.say(nodeAt(1, same), nodeAt(2, same), nodeAt(3, other))
	one, three := startTalkerOf(t, 1, api.nodes), startTalkerOf(t, 3, api.nodes)
	one.ready.Store(true)
	three.ready.Store(true)
	const want = "the Nodes n1 and n2 have the same InternalIP 127.0.0.1"
	if got := <-one.problems; !strings.Contains(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	eventually(t, warmUp+aloneAfter+5*time.Second, "n3 is alone", three.knows(1))
	if !strings.Contains(one.State().Problem, want) || len(one.Alive()) > 0 {
		t.Errorf("alive are %v, and its state is %+v", one.Alive(), one.State())
	}
	if three.State().Problem != "" {
		t.Errorf("n3 has a problem: %s", three.State().Problem)
	}
	// n2 gets one of its own.
	api.say(nodeAt(1, same), nodeAt(2, netip.MustParseAddr("127.0.0.4")), nodeAt(3, other))
	eventually(t, warmUp+aloneAfter+5*time.Second, "n1 and n3 know each other", allKnow([]*talker{one, three}, 2))
	if p := one.State().Problem; p != "" {
		t.Errorf("the problem is over, and it says %q", p)
	}
	// And back: what n1 owned is the others' at once.
	api.say(nodeAt(1, same), nodeAt(2, same), nodeAt(3, other))
	eventually(t, 5*time.Second, "n1 owns nothing", one.knows(0))
	eventually(t, 5*time.Second, "n3 takes over", three.knows(1))
}

func TestWhatIsWrongWithAnAddress(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	old := nodeAt(2, a)
	old.Ready = false
	for _, tt := range []struct {
		desc  string
		nodes []cluster.Node
		want  string // in the problem; empty: none
	}{
		{"an address of its own", []cluster.Node{nodeAt(1, a), nodeAt(2, b)}, ""},
		{"no Node", []cluster.Node{nodeAt(2, b)}, "no Node n1"},
		{"no InternalIP", []cluster.Node{nodeAt(1), nodeAt(2, b)}, "the Node n1 has no InternalIP in its status.addresses"},
		{"the same", []cluster.Node{nodeAt(1, a), nodeAt(2, a)}, "the Nodes n1 and n2 have the same InternalIP 10.0.0.1"},
		{"the same as the second of another", []cluster.Node{nodeAt(1, a), nodeAt(2, b, a)}, "have the same InternalIP 10.0.0.1"},
		{"that of a Node left over", []cluster.Node{nodeAt(1, a), old}, ""},
	} {
		g := &gossip{nodes: func() []cluster.Node { return tt.nodes }}
		g.options.Node = "n1"
		self, problem := g.address()
		if (problem == "") != (tt.want == "") || !strings.Contains(problem, tt.want) {
			t.Errorf("%s: %q, want %q", tt.desc, problem, tt.want)
		}
		if problem == "" && self != a {
			t.Errorf("%s: the address is %s", tt.desc, self)
		}
	}
}
