package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/l2"
	"github.com/heraldlb/herald/speaker/members"
)

// talker is a gossip at 127.0.0.N, on a port that this process has to itself.
type talker struct {
	*gossip
	problems       chan string
	links          atomic.Pointer[[]net.HardwareAddr]
	ready, rescues atomic.Bool
	ended          chan error
}

func startTalker(t *testing.T, n, of int) *talker {
	t.Helper()
	return startTalkerOf(t, n, func() (nodes []cluster.Node) {
		for i := 1; i <= of; i++ {
			nodes = append(nodes, nodeAt(i, netip.AddrFrom4([4]byte{127, 0, 0, byte(i)})))
		}
		return nodes
	})
}

func nodeAt(i int, addrs ...netip.Addr) cluster.Node {
	return cluster.Node{Name: fmt.Sprintf("n%d", i), Ready: true, Addrs: addrs}
}

func startTalkerOf(t *testing.T, n int, nodes func() []cluster.Node) *talker {
	t.Helper()
	s := &talker{ended: make(chan error, 1), problems: make(chan string, 10)}
	s.links.Store(&[]net.HardwareAddr{mac(n)})
	log := slog.New(slog.NewTextHandler(outputOf(t), nil)).With("self", n)
	s.gossip = &gossip{
		options: members.Options{Node: fmt.Sprintf("n%d", n), Key: bytes.Repeat([]byte("k"), members.KeySize), Log: log},
		port:    uint16(20000 + os.Getpid()%20000),
		nodes:   nodes,
		told:    func(p string) { s.problems <- p },
		ready:   s.ready.Load,
		wake:    make(chan struct{}, 1),
		log:     log,
		macs:    func() []net.HardwareAddr { return *s.links.Load() },
		rescues: s.rescues.Load,
		changed: make(chan struct{}, 1),
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { s.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

func eventually(t *testing.T, atMost time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if is() {
			return time.Since(begun)
		}
		if time.Since(begun) > atMost {
			t.Fatalf("not within %v: %s", atMost, what)
		}
	}
}

func (s *talker) knows(nodes int) func() bool { return func() bool { return len(s.Alive()) == nodes } }

func (s *talker) names(m net.HardwareAddr, node string) func() bool {
	return func() bool { got, ok := s.Peer(m); return ok && got == node }
}

func TestSpeakersMeet(t *testing.T) {
	one, two := startTalker(t, 1, 2), startTalker(t, 2, 2)
	one.ready.Store(true)
	if got := one.Alive(); len(got) > 0 {
		t.Errorf("%v are alive before it has looked", got)
	}
	eventually(t, warmUp+aloneAfter+5*time.Second, "one is alone", one.knows(1))
	two.ready.Store(true)
	eventually(t, warmUp+5*time.Second, "one knows two", one.knows(2))
	eventually(t, 2*time.Second, "two knows one", two.knows(2))

	for _, s := range []*talker{one, two} {
		eventually(t, time.Second, "n1's link is known", s.names(mac(1), "n1"))
		eventually(t, time.Second, "n2's link is known", s.names(mac(2), "n2"))
	}
	if node, ok := one.Peer(mac(3)); ok {
		t.Errorf("a stranger counts as %s", node)
	}
	two.links.Store(&[]net.HardwareAddr{mac(2), mac(3)})
	poke(two.changed)
	eventually(t, 2*time.Second, "n2's new link is known", one.names(mac(3), "n2"))

	if !one.NotRescuing()["n1"] {
		t.Error("n1 does not say of itself that it rescues no flows")
	}
	if !one.NotRescuing()["n2"] {
		t.Error("n2 has not said that it rescues flows")
	}
	for len(one.Wake()) > 0 {
		<-one.Wake()
	}
	two.rescues.Store(true)
	poke(two.changed)
	eventually(t, 2*time.Second, "n2 rescues flows", func() bool { return !one.NotRescuing()["n2"] })
	eventually(t, time.Second, "the speaker is woken", func() bool { return len(one.Wake()) > 0 })

	if err := two.leave(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, time.Second, "one knows that two has left", one.knows(1))
	if !one.names(mac(2), "n2")() {
		t.Error("the link of one who left is a stranger's, though it may answer for a moment")
	}
	if one.NotRescuing()["n2"] {
		t.Error("one who left is not asked any more, though its tables still answer")
	}
}

func TestANodeThatIsTheOnlyOneNeedsNobody(t *testing.T) {
	one := startTalker(t, 1, 1)
	one.ready.Store(true)
	if took := eventually(t, 5*time.Second, "it is alive", one.knows(1)); took >= warmUp {
		t.Errorf("it took %v", took)
	}
}

func TestAConflictIsTold(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	rows := []struct {
		c    l2.Conflict
		want string
	}{
		{l2.Conflict{Addr: a, Link: "eth0", MAC: mac(7), Peer: "n2"}, "node n2 (02:00:00:00:00:07) answers for 192.0.2.1 on eth0 too"},
		{l2.Conflict{Addr: a, Link: "eth0", MAC: mac(7)}, "the interface with the address 02:00:00:00:00:07 answers for 192.0.2.1 on eth0 too"},
		{l2.Conflict{Addr: a, Link: "lo", Bound: true}, "the kernel of a node that has the address bound answers for 192.0.2.1 on lo too"},
	}
	for _, r := range rows {
		if got := conflictNote(r.c); got != r.want {
			t.Errorf("got %q, want %q", got, r.want)
		}
	}
}

func TestEventsComeInNoStorm(t *testing.T) {
	b, now, told := newBudget(), time.Unix(0, 0), 0
	for range 1000 {
		if b.AllowN(now, 1) {
			told++
		}
	}
	if told != 50 || !b.AllowN(now.Add(time.Second), 1) {
		t.Errorf("told %d at once, want 50, and another one a second later", told)
	}
}

func TestAKeyThatCannotBeRead(t *testing.T) {
	if _, err := readKeys("/does/not/exist"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// output is a test's own until its end. A probe of memberlist's that is under way
// outlives the gossip, and may still log then.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

func outputOf(t *testing.T) *output {
	o := &output{w: t.Output()}
	t.Cleanup(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.w = io.Discard
	})
	return o
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}
