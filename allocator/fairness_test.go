package allocator

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

// hang makes the writes to Services whose names begin with bad take so long and
// fail.
func hang(w *world, took time.Duration) {
	w.write = func(ctx context.Context, key string) error {
		if strings.HasPrefix(key, "default/bad") {
			time.Sleep(took)
			return errLost
		}
		return nil
	}
}

func TestWritesThatFailStarveNobody(t *testing.T) {
	for _, tt := range []struct {
		n    int
		took time.Duration
	}{{40, 5 * time.Second}, {100, 200 * time.Millisecond}, {1000, 50 * time.Millisecond}} {
		t.Run(fmt.Sprint(tt.n, " of ", tt.took), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(pool("10.0.0.0/16"))
				hang(w, tt.took)
				_, stop := w.lead(t)
				defer stop()
				for i := range tt.n {
					w.create(fmt.Sprintf("bad-%04d", i))
				}
				time.Sleep(time.Minute)
				w.create("web")
				time.Sleep(time.Millisecond)
				synctest.Wait()
				if s := w.status(); !strings.HasSuffix(s[len(s)-1], " Allocated") {
					t.Errorf("after a millisecond: %q", s[len(s)-1])
				}
				w.edit(func(all *[]cluster.Service) {
					(*all)[len(*all)-1].Annotations = map[string]string{cluster.AnnotationAddresses: "10.0.255.1"}
				})
				time.Sleep(time.Millisecond)
				synctest.Wait()
				if s := w.status(); s[len(s)-1] != "web 10.0.255.1 Allocated" {
					t.Errorf("after its first change: %q", s[len(s)-1])
				}
			})
		})
	}
}

// Who is first in the alphabet is not first in the queue.
func TestTheOldestWriteIsFirst(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("10.0.0.0/16"))
		w.write = func(context.Context, string) error { time.Sleep(time.Second); return nil }
		_, stop := w.lead(t)
		defer stop()
		for i := range 40 {
			w.create(fmt.Sprintf("z%02d", i))
		}
		time.Sleep(100 * time.Millisecond)
		w.create("a")
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		var writes []string
		w.set(func() { writes = slices.Clone(w.writes) })
		if len(writes) != 32 || slices.ContainsFunc(writes, func(s string) bool { return strings.HasPrefix(s, "default/a ") }) {
			t.Errorf("%d writes: %q", len(writes), writes)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := w.writeCount(); n != 41 {
			t.Errorf("%d writes in the end", n)
		}
	})
}

// A Service that the server does not take, while it takes others, is tried ever
// less often; when the server takes nothing at all, it may be back at any moment.
func TestTheServiceThatFailsAloneWaitsLonger(t *testing.T) {
	for desc, tt := range map[string]struct {
		others bool
		want   [2]int // at least, at most
	}{"others are taken": {true, [2]int{20, 40}}, "nobody is": {false, [2]int{550, 650}}} {
		t.Run(desc, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(pool("10.0.0.0/16"))
				var tries atomic.Int64
				w.write = func(_ context.Context, key string) error {
					if key == "default/bad" {
						tries.Add(1)
						return errLost
					}
					return nil
				}
				_, stop := w.lead(t)
				defer stop()
				w.create("bad")
				for i := range 600 {
					if tt.others {
						w.create(fmt.Sprint("s", i))
					}
					time.Sleep(time.Second)
				}
				if n := int(tries.Load()); n < tt.want[0] || n > tt.want[1] {
					t.Errorf("%d tries in ten minutes, want %v", n, tt.want)
				}
			})
		})
	}
}

// Another controller that writes a Service's status back at once gets no war of
// writes, but a pause that grows; and users are told who it is.
func TestTwoControllersDoNotFight(t *testing.T) {
	for desc, theirs := range map[string][]string{
		"addresses": {"10.0.0.11", "10.0.0.12"}, "one address": {"192.0.2.77"}, "nothing": nil,
	} {
		t.Run(desc, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(pool("192.0.2.0/26"))
				_, stop := w.lead(t)
				defer stop()
				w.create("a", "b")
				want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				rival := func(ctx context.Context) {
					for ctx.Err() == nil {
						time.Sleep(20 * time.Millisecond)
						w.mu.Lock()
						s := w.truth[1]
						w.mu.Unlock()
						if addrText(s.Ingress) != strings.Join(theirs, ",") {
							if theirs == nil {
								w.edit(func(all *[]cluster.Service) { (*all)[1].Ingress = nil })
							} else {
								w.give("b", "rival", theirs...)
							}
						}
					}
				}
				go rival(ctx)
				begin := w.writeCount()
				time.Sleep(time.Minute)
				if n := w.writeCount() - begin; n > 6 {
					t.Errorf("%d writes in the first minute", n)
				}
				begin = w.writeCount()
				time.Sleep(time.Hour)
				if n := w.writeCount() - begin; n < 10 || n > 16 {
					t.Errorf("%d writes in the hour after", n)
				}
				m := w.message("b")
				if who := map[bool]string{true: "rival", false: "somebody"}[theirs != nil]; !strings.Contains(m, who) || !strings.Contains(m, "has 192.0.2.1 of pool public") {
					t.Errorf("message: %s", m)
				}
				if n := w.eventsWith("Warning StatusContested default/b"); n == 0 {
					t.Errorf("Events %q", w.events)
				}
				// Its address is nobody else's meanwhile.
				w.create("c")
				time.Sleep(time.Second)
				if got := w.status()[2]; got != "c 192.0.2.2 Allocated" {
					t.Errorf("got %s", got)
				}
				cancel()
				time.Sleep(30 * time.Minute)
				want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated", "c 192.0.2.2 Allocated")
			})
		})
	}
}

// A leader that was paused between its decision and its write writes nothing: the
// Service is another by then.
func TestAWriteOfWhatIsNoLongerSoIsRefused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/29"))
		pause := make(chan struct{})
		w.write = func(context.Context, string) error { <-pause; return nil }
		_, stop := w.lead(t)
		defer stop()
		w.create("a")
		synctest.Wait()
		// Meanwhile another leader gives it something else.
		w.edit(func(all *[]cluster.Service) {
			(*all)[0].Ingress = []netip.Addr{netip.MustParseAddr("192.0.2.5")}
			(*all)[0].Condition = cluster.Condition{Allocated: true, Reason: "Allocated", Message: "has 192.0.2.5 of pool public"}
		})
		close(pause)
		time.Sleep(2 * time.Second)
		want(t, w, "a 192.0.2.5 Allocated")
		if n := w.writeCount(); n != 0 {
			t.Errorf("writes %q", w.writes)
		}
	})
}
