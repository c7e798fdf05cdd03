package speaker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

// slow is a source of which a computation takes a while.
type slow struct {
	*world
	took  time.Duration
	spent atomic.Int64
}

func (s *slow) Snapshot() (cluster.Snapshot, bool) {
	time.Sleep(s.took)
	s.spent.Add(int64(s.took))
	return s.world.Snapshot()
}

// Whatever comes in a storm, for as long as it lasts, it costs a fifth of a core.
func TestNoStormCostsMoreThanAFifth(t *testing.T) {
	for _, tt := range []struct {
		desc string
		took time.Duration
		poke func(*slow, *gossip)
	}{
		{"the API server", 100 * time.Millisecond, func(w *slow, _ *gossip) { push(w.wake) }},
		{"members, and computations are short", time.Millisecond, func(_ *slow, g *gossip) { push(g.wake) }},
		{"members, and they are long", 300 * time.Millisecond, func(_ *slow, g *gossip) { push(g.wake) }},
		{"members, and they are very long", 3 * time.Second, func(_ *slow, g *gossip) { push(g.wake) }},
		{"all at once", 50 * time.Millisecond, func(w *slow, g *gossip) { push(w.wake); push(g.wake) }},
	} {
		bubble.Test(t, func(t *testing.T) {
			w := &slow{world: &world{wake: make(chan struct{}, 1), conf: layer2Conf, snap: pods(1), synced: true}, took: tt.took}
			g := &gossip{alive: map[string]bool{"n1": true}, wake: make(chan struct{}, 1)}
			s, err := New(Options{Node: "n1", Source: w, Members: g, Announcers: []Announcer{&claimed{}}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			const lasts = time.Minute
			for begun := time.Now(); time.Since(begun) < lasts; time.Sleep(10 * time.Millisecond) {
				tt.poke(w, g)
			}
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			spent := time.Duration(w.spent.Load())
			if most := lasts/5 + mostDebt + 2*tt.took; spent > most {
				t.Errorf("%s: %s of %s was computed, want %s at most", tt.desc, spent, lasts, most)
			}
			if least := lasts / 10; spent < least && tt.took > pauseFloor {
				t.Errorf("%s: %s of %s was computed: it sleeps", tt.desc, spent, lasts)
			}
		})
	}
}

func push(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// A member that dies in the pause of a large cluster is acted upon at once all the
// same.
func TestADeathDoesNotWaitForThePause(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := &slow{world: &world{wake: make(chan struct{}, 1), conf: layer2Conf, snap: pods(1), synced: true}, took: 300 * time.Millisecond}
		g := &gossip{alive: map[string]bool{"n1": true, "n2": true}, wake: make(chan struct{}, 1)}
		s, err := New(Options{Node: "n1", Source: w, Members: g, Announcers: []Announcer{&claimed{}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = s.Run(ctx) }()
		time.Sleep(time.Minute)
		push(w.wake)
		time.Sleep(400 * time.Millisecond) // it rests now, for 1.2 s
		before := w.spent.Load()
		g.set("n1")
		time.Sleep(310 * time.Millisecond)
		if w.spent.Load() == before {
			t.Error("it rests on although a member has died")
		}
	})
}
