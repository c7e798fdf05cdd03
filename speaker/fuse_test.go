package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/plan"
)

// counter is an announcer that counts the routes of the last table.
type counter struct{ routes atomic.Int64 }

func (c *counter) Apply(_ context.Context, t plan.Table) error {
	c.routes.Store(int64(len(t.Routes)))
	return nil
}

func many(n int) cluster.Snapshot {
	s := pods(1)
	first := s.Services[0]
	s.Services = nil
	for i := range n {
		svc := first
		svc.Name = fmt.Sprintf("web-%02d", i)
		svc.Ingress = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})}
		s.Services = append(s.Services, svc)
	}
	return s
}

// lacking is the snapshot that a list leads to that lacks the Services from number
// n on.
func lacking(all cluster.Snapshot, n int) cluster.Snapshot {
	missing := map[string]bool{}
	for _, s := range all.Services[n:] {
		missing[s.Key()] = true
	}
	all.Services, all.Missing.Services = all.Services[:n], missing
	return all
}

func TestAMassWithdrawalIsHeldBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w, c := &world{wake: make(chan struct{}, 1)}, &counter{}
		var told atomic.Int64
		s, err := New(Options{Node: "n1", Source: w, Announcers: []Announcer{c}, Fused: func(string) { told.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = s.Run(ctx) }()
		want := func(what string, routes, held int) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if got := c.routes.Load(); int(got) != routes || s.State().Fused != held {
				t.Errorf("%s: %d routes, %d held; want %d and %d", what, got, s.State().Fused, routes, held)
			}
		}
		w.set(func() { w.conf, w.snap, w.synced = conf, many(20), true })
		want("at first", 20, 0)
		w.set(func() { w.snap = lacking(many(20), 0) })
		want("all Services are missing", 20, 20)
		w.set(func() { w.snap = many(20) })
		want("they are back", 20, 0)
		time.Sleep(time.Minute)
		w.set(func() { w.snap = lacking(many(20), 0) })
		want("they are missing again", 20, 20)
		time.Sleep(30 * time.Second)
		want("and they stay away", 0, 0)
		if told.Load() != 2 {
			t.Errorf("told %d times, want 2", told.Load())
		}
		w.set(func() { w.snap = many(20) })
		want("new ones", 20, 0)
		w.set(func() { w.conf = "apiVersion: heraldlb.io/v1\npools: [{name: other, ranges: [192.0.2.0/24]}]\n" })
		want("the configuration says so", 0, 0)
	})
}

// What somebody deletes goes at once, and so does what ends beside a hold.
func TestWhatIsDeletedIsNotHeldBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w, c := &world{wake: make(chan struct{}, 1)}, &counter{}
		s, err := New(Options{Node: "n1", Source: w, Announcers: []Announcer{c}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = s.Run(ctx) }()
		want := func(what string, routes, held int) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if got := c.routes.Load(); int(got) != routes || s.State().Fused != held {
				t.Errorf("%s: %d routes, %d held; want %d and %d", what, got, s.State().Fused, routes, held)
			}
		}
		w.set(func() { w.conf, w.snap, w.synced = conf, many(20), true })
		want("at first", 20, 0)
		w.set(func() { w.snap = many(1) })
		want("all Services but one are deleted", 1, 0)
		w.set(func() { w.snap = many(20) })
		want("they are made anew", 20, 0)
		time.Sleep(time.Minute)
		w.set(func() { w.snap = lacking(many(20), 3) })
		want("all but three are missing", 20, 17)
		w.set(func() {
			w.snap = lacking(many(20), 3)
			w.snap.Services = w.snap.Services[:2]
		})
		want("one of the three is deleted", 19, 17)
		w.set(func() {
			w.snap = lacking(many(20), 3)
			w.snap.Services = w.snap.Services[:2]
			w.snap.Services[1].LoadBalancer = false
		})
		want("one more has another type", 18, 17)
		w.set(func() {
			w.snap = lacking(many(20), 3)
			w.snap.Services = w.snap.Services[:2]
			w.snap.Services[0].Endpoints, w.snap.Services[1].LoadBalancer = nil, false
		})
		want("the last of the three has no pod any more", 17, 17)
	})
}
