package stage

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Burst is how long many Services created at once took.
type Burst struct {
	Creating  time.Duration // from the first creation to the last
	Addressed time.Duration // from the last creation until all had an address
	Routed    time.Duration // from the last creation until the router had all routes
}

// Burst creates n Services with the pods app=APP at once, and waits until all
// have an address of their own and a route with so many next hops.
func (s *Stage) Burst(ctx context.Context, n int, app string, hops int) (Burst, error) {
	begun := time.Now()
	err := each(n, func(i int) error {
		return s.Create(ctx, Service{Name: burstName(i), App: app, SingleStack: true})
	})
	if err != nil {
		return Burst{}, err
	}
	created := time.Now()
	b := Burst{Creating: created.Sub(begun)}
	err = Wait(ctx, 60*time.Second, func() error {
		addrs, err := s.addrsOf(ctx, "burst-")
		if err != nil {
			return err
		}
		if len(addrs) < n {
			return fmt.Errorf("%d of %d Services have an address", len(addrs), n)
		}
		if b.Addressed == 0 {
			b.Addressed = time.Since(created)
		}
		return s.allRouted(ctx, addrs, hops)
	})
	b.Routed = time.Since(created)
	return b, err
}

// EndBurst deletes what Burst created.
func (s *Stage) EndBurst(ctx context.Context, n int) error {
	return each(n, func(i int) error { return s.Delete(ctx, burstName(i)) })
}

func burstName(i int) string { return fmt.Sprintf("burst-%d", i) }

// each runs f for 0..n-1, eight at a time.
func each(n int, f func(i int) error) error {
	work, errs := make(chan int), make(chan error, n)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range work {
				errs <- f(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	for range n {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) allRouted(ctx context.Context, addrs []netip.Addr, hops int) error {
	routes, err := s.RouterRoutes(ctx, netip.MustParsePrefix("10.99.0.0/16"))
	if err != nil {
		return err
	}
	missing := 0
	for _, a := range addrs {
		if len(routes[Host(a)]) != hops {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d addresses lack a route by %d nodes", missing, len(addrs), hops)
	}
	return nil
}
