package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

func TestAMassWithdrawalIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
		w.set(func() { w.snap = many(0) })
		want("all Services are gone", 20, 20)
		w.set(func() { w.snap = many(20) })
		want("they are back", 20, 0)
		time.Sleep(time.Minute)
		w.set(func() { w.snap = many(0) })
		want("they are gone again", 20, 20)
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
