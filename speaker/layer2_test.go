package speaker

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/plan"
)

const layer2Conf = `
apiVersion: heraldlb.io/v1
pools: [{name: public, ranges: [198.51.100.0/24], announce: [l2]}]
`

// gossip is what the test says of the members.
type gossip struct {
	mu     sync.Mutex
	alive  map[string]bool
	silent map[string]bool
	wake   chan struct{}
}

func (g *gossip) Alive() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.alive)
}

func (g *gossip) NotRescuing() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.silent)
}

func (g *gossip) Wake() <-chan struct{} { return g.wake }

func (g *gossip) set(nodes ...string) {
	g.mu.Lock()
	g.alive = map[string]bool{}
	for _, n := range nodes {
		g.alive[n] = true
	}
	g.mu.Unlock()
	g.wake <- struct{}{}
}

type oneLink struct{}

func (oneLink) Usable(netip.Addr, []string, []string) []string { return []string{"eth0"} }
func (oneLink) Wake() <-chan struct{}                          { return nil }

// claimed records the number of claims of each table, and when it came.
type claimed struct {
	got []int
	at  []time.Time
}

func (c *claimed) Apply(_ context.Context, t plan.Table) error {
	c.got, c.at = append(c.got, len(t.Claims)), append(c.at, time.Now())
	return nil
}

// layer2World is a speaker on the node that owns the address while n1 and n2 live.
type layer2World struct {
	*world
	*gossip
	*claimed
	node, other string
	notes       []string
	joined      int
}

func runLayer2(t *testing.T, body func(t *testing.T, w *layer2World)) {
	bubble.Test(t, func(t *testing.T) {
		w := &layer2World{
			world:   &world{wake: make(chan struct{}, 1), conf: layer2Conf, snap: pods(1), synced: true},
			gossip:  &gossip{alive: map[string]bool{}, wake: make(chan struct{}, 1)},
			claimed: &claimed{},
		}
		w.node = plan.Owner(netip.MustParseAddr("198.51.100.10"), [6]byte{}, []plan.NodeWeight{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 1}})
		w.other = map[string]string{"n1": "n2", "n2": "n1"}[w.node]
		s, err := New(Options{
			Node: w.other, Source: w.world, Members: w.gossip, Links: oneLink{}, Announcers: []Announcer{w.claimed},
			Took:   func(s cluster.Service, note string) { w.notes = append(w.notes, s.Key()+": "+note) },
			Joined: func() { w.joined++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		body(t, w)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (w *layer2World) want(t *testing.T, claims ...int) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(w.got, claims) {
		t.Fatalf("claims %v, want %v", w.got, claims)
	}
}

func TestNothingIsOwnedBeforeTheGossipKnows(t *testing.T) {
	runLayer2(t, func(t *testing.T, w *layer2World) {
		time.Sleep(time.Minute)
		w.want(t, 0)
		w.gossip.set("n1", "n2")
		time.Sleep(time.Minute)
		w.want(t, 0)
	})
}

func TestADeadOwnerIsReplacedAtOnce(t *testing.T) {
	runLayer2(t, func(t *testing.T, w *layer2World) {
		w.gossip.set("n1", "n2")
		time.Sleep(time.Minute)
		w.world.set(func() {}) // the pause begins
		synctest.Wait()
		begun := time.Now()
		w.gossip.set(w.other)
		w.want(t, 0, 1)
		if late := w.at[1].Sub(begun); late != 0 {
			t.Errorf("applied %v late", late)
		}
		want := []string{"default/web: " + w.other + " answers for 198.51.100.10, since " + w.node + " is gone"}
		if !slices.Equal(w.notes, want) {
			t.Errorf("told %q, want %q", w.notes, want)
		}
	})
}

func TestAnOwnerAnswersOnWhileAnotherTakesOver(t *testing.T) {
	local := func(w *layer2World, e ...cluster.Endpoint) {
		for i := range e {
			e[i].Addr = netip.AddrFrom4([4]byte{10, 244, 1, byte(i)})
		}
		w.world.set(func() { w.snap.Services[0].LocalOnly, w.snap.Services[0].Endpoints = true, e })
	}
	rows := []struct {
		desc string
		do   func(w *layer2World)
		on   time.Duration
	}{
		{"the owner comes back", func(w *layer2World) { w.gossip.set("n1", "n2") }, plan.HandoverTime},
		{"its pods end, and serve meanwhile", func(w *layer2World) {
			local(w, cluster.Endpoint{Node: w.other, Serving: true, Terminating: true}, cluster.Endpoint{Node: w.node, Ready: true})
			w.gossip.set("n1", "n2")
		}, plan.HandoverTime},
		{"one of two Services that share it is served elsewhere only", func(w *layer2World) {
			w.world.set(func() {
				other := w.snap.Services[0]
				other.Name, other.Endpoints = "web2", []cluster.Endpoint{{Node: w.node, Addr: netip.MustParseAddr("10.244.3.1"), Ready: true}}
				w.snap.Services = append(w.snap.Services, other)
			})
			w.gossip.set("n1", "n2")
		}, 0},
		{"it has pods, though another shall answer", func(w *layer2World) {
			local(w, cluster.Endpoint{Node: w.other, Ready: true}, cluster.Endpoint{Node: w.node, Ready: true})
			w.gossip.set("n1", "n2")
		}, plan.HandoverTime},
		{"its pods have ended", func(w *layer2World) {
			local(w, cluster.Endpoint{Node: w.node, Ready: true})
			w.gossip.set("n1", "n2")
		}, 0},
		{"its pods fail", func(w *layer2World) {
			local(w, cluster.Endpoint{Node: w.other}, cluster.Endpoint{Node: w.node, Ready: true})
			w.gossip.set("n1", "n2")
		}, 0},
		{"no node can serve it any more", func(w *layer2World) { local(w) }, 0},
		{"the Service is gone", func(w *layer2World) { w.world.set(func() { w.snap.Services = nil }) }, 0},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			runLayer2(t, func(t *testing.T, w *layer2World) {
				w.gossip.set(w.other)
				time.Sleep(time.Minute)
				w.want(t, 0, 1)
				begun := time.Now()
				r.do(w)
				time.Sleep(time.Minute)
				w.want(t, 0, 1, 0)
				if on := w.at[2].Sub(begun); on != r.on {
					t.Errorf("it answered on for %v, want %v", on, r.on)
				}
			})
		})
	}
}

func TestAnOwnerThatKeepsAnAddressAfterAllDoesNotLinger(t *testing.T) {
	runLayer2(t, func(t *testing.T, w *layer2World) {
		w.gossip.set(w.other)
		time.Sleep(time.Minute)
		for range 2 {
			w.gossip.set("n1", "n2")
			time.Sleep(plan.HandoverTime - time.Millisecond)
			w.gossip.set(w.other)
			time.Sleep(time.Minute)
		}
		w.want(t, 0, 1)
	})
}

func TestJoinedIsCalledWhenSomebodyComesBack(t *testing.T) {
	runLayer2(t, func(t *testing.T, w *layer2World) {
		for i, nodes := range []string{"n1 n2", "n1 n2", "n1", "n1 n2", "n2 n1"} {
			w.gossip.set(strings.Fields(nodes)...)
			synctest.Wait()
			if want := []int{0, 0, 0, 1, 1}[i]; w.joined != want {
				t.Errorf("after %q Joined was called %d times, want %d", nodes, w.joined, want)
			}
		}
	})
}

// noLink is a host that can carry no address.
type noLink struct{ oneLink }

func (noLink) Usable(netip.Addr, []string, []string) []string { return nil }

// A pool on no link is silent everywhere, and its owner alone knows why.
func TestAnOwnerWithoutALinkSaysSo(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := &world{wake: make(chan struct{}, 1), conf: layer2Conf, snap: pods(1), synced: true}
		g := &gossip{alive: map[string]bool{}, wake: make(chan struct{}, 1)}
		var told []string
		s, err := New(Options{
			Node: "n1", Source: w, Members: g, Links: noLink{}, Announcers: []Announcer{&claimed{}},
			Trouble: func(s cluster.Service, r plan.Reason, note string) {
				told = append(told, s.Key()+" "+string(r)+" "+note)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		g.set("n1")
		time.Sleep(time.Minute)
		w.set(func() {})
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(told) != 1 || !strings.HasPrefix(told[0], "default/web NoUsableLink n1 owns 198.51.100.10 at layer 2, but has no link that can carry it") {
			t.Errorf("told %q, want it once", told)
		}
	})
}
