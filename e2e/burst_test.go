package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

// 500 Services created at once: all have addresses and routes within 5 s of the
// last creation.
func TestFiveHundredServicesAtOnce(t *testing.T) {
	const n = 500
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "many", map[string]int{"n1": 1, "n2": 1}))
	t.Cleanup(func() { deleteAll(t, n) })
	begun := time.Now()
	must(t, each(n, func(i int) error {
		return herald.Create(ctx, stage.Service{Name: fmt.Sprintf("many-%d", i), App: "many", SingleStack: true})
	}))
	created := time.Now()
	var addressed time.Time
	must(t, stage.Wait(ctx, 60*time.Second, func() error {
		if addressed.IsZero() {
			if err := allAddressed(ctx, n); err != nil {
				return err
			}
			addressed = time.Now()
		}
		return allRouted(ctx, n)
	}))
	routed := time.Now()
	t.Logf("%d Services created in %.1f s; all have addresses %.2f s after the last creation, all routes %.2f s after it",
		n, created.Sub(begun).Seconds(), addressed.Sub(created).Seconds(), routed.Sub(created).Seconds())
	if took := routed.Sub(created); took > 5*time.Second {
		t.Errorf("all routes %s after the last creation, want within 5 s", took)
	}
}

// each runs f for 0..n-1, eight at a time.
func each(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	work := make(chan int)
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

func manyAddrs(ctx context.Context) ([]netip.Addr, error) {
	all, err := herald.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[netip.Addr]bool{}
	var out []netip.Addr
	for _, v := range all {
		var i int
		if _, err := fmt.Sscanf(v.Metadata.Name, "many-%d", &i); err != nil {
			continue
		}
		for _, a := range v.Addrs() {
			if seen[a] {
				return nil, fmt.Errorf("%s was given out twice", a)
			}
			seen[a] = true
			out = append(out, a)
		}
	}
	return out, nil
}

func allAddressed(ctx context.Context, n int) error {
	addrs, err := manyAddrs(ctx)
	if err == nil && len(addrs) != n {
		err = fmt.Errorf("%d of %d Services have an address", len(addrs), n)
	}
	return err
}

func allRouted(ctx context.Context, n int) error {
	addrs, err := manyAddrs(ctx)
	if err != nil {
		return err
	}
	routes, err := herald.RouterRoutes(ctx, netip.MustParsePrefix("10.99.0.0/16"))
	if err != nil {
		return err
	}
	missing := 0
	for _, a := range addrs {
		if len(routes[stage.Host(a)]) != 2 {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d addresses lack a route by both nodes", missing, n)
	}
	return nil
}

func deleteAll(t *testing.T, n int) {
	if err := each(n, func(i int) error { return herald.Delete(context.Background(), fmt.Sprintf("many-%d", i)) }); err != nil {
		t.Error(err)
	}
}
