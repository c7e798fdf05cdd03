package allocator

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

func pool(ranges ...string) string {
	return "apiVersion: heraldlb.io/v1\npools:\n- name: public\n  ranges: [" + strings.Join(ranges, ", ") + "]\n" +
		"bgp: {asn: 64513}\npeers: [{name: tor, address: 172.31.255.1, asn: 64512}]\n"
}

const broken = "apiVersion: heraldlb.io/v1\npools:\n- name: public\n  ranges: [192.0.2.0/33]\n  colour: red\n"

func TestAddressesAreHandedOutAndFreed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1-192.0.2.2"))
		_, stop := w.lead(t)
		defer stop()
		w.create("c", "b", "a")
		want(t, w, "a PoolExhausted", "b 192.0.2.2 Allocated", "c 192.0.2.1 Allocated")
		w.delete("c")
		want(t, w, "a 192.0.2.1 Allocated", "b 192.0.2.2 Allocated")
		w.edit(func(all *[]cluster.Service) { (*all)[0].LoadBalancer, (*all)[0].Ingress = false, nil })
		want(t, w, "a", "b 192.0.2.2 Allocated")
		for event, n := range map[string]int{
			"Normal Allocated default/": 3, "Warning PoolExhausted default/a": 1, "Normal Released default/a": 1,
		} {
			if got := w.eventsWith(event); got != n {
				t.Errorf("%d Events %q, want %d; all: %q", got, event, n, w.events)
			}
		}
	})
}

func TestRestartWritesNothing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1-192.0.2.2"))
		w.create("a", "b", "c")
		_, stop := w.lead(t)
		want(t, w, "a 192.0.2.1 Allocated", "b 192.0.2.2 Allocated", "c PoolExhausted")
		stop()
		before := w.writeCount()
		_, stop = w.lead(t)
		defer stop()
		synctest.Wait()
		if got := w.writeCount(); got != before || w.caught != 2 {
			t.Errorf("%d writes after the restart; caught up %d times", got-before, w.caught)
		}
	})
}

// The answers to the writes are lost, but the writes took place, and the watch
// lags. A Service that is asked first must not get an address that is given
// away already.
func TestAddressOfAWriteWithoutAnAnswerIsNotGivenAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1-192.0.2.9"))
		_, stop := w.lead(t)
		defer stop()
		synctest.Wait()
		w.create("b", "c")
		w.mu.Lock()
		w.lagging = true
		lost := map[string]bool{"default/b": true, "default/c": true}
		w.after = func(key string) error {
			if lost[key] {
				return errLost
			}
			return nil
		}
		w.mu.Unlock()
		want(t, w, "b 192.0.2.1 Allocated", "c 192.0.2.2 Allocated")

		w.createOldest("a")
		time.Sleep(10 * time.Second)
		want(t, w, "a 192.0.2.3 Allocated", "b 192.0.2.1 Allocated", "c 192.0.2.2 Allocated")

		w.mu.Lock()
		clear(lost)
		w.lagging = false
		w.editLocked(func(*[]cluster.Service) {})
		w.mu.Unlock()
		time.Sleep(2 * time.Second)
		want(t, w, "a 192.0.2.3 Allocated", "b 192.0.2.1 Allocated", "c 192.0.2.2 Allocated")
		if n := w.eventsWith("Normal Allocated"); n != 3 {
			t.Errorf("%d Events: %q", n, w.events)
		}
	})
}

func TestAddressOfAWriteUnderWayIsNotGivenAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1-192.0.2.9"))
		release := make(chan struct{})
		w.write = func(_ context.Context, key string) error {
			if key == "default/b" {
				<-release
			}
			return nil
		}
		_, stop := w.lead(t)
		defer stop()
		w.create("b")
		synctest.Wait()
		w.createOldest("a")
		want(t, w, "a 192.0.2.2 Allocated", "b")
		close(release)
		want(t, w, "a 192.0.2.2 Allocated", "b 192.0.2.1 Allocated")
	})
}

func TestRefusedWriteLeavesItsAddressToOthersAndIsTriedAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1/32"))
		var refuse atomic.Bool
		refuse.Store(true)
		w.write = func(_ context.Context, key string) error {
			if key == "default/a" && refuse.Load() {
				return fmt.Errorf("%w: no right", cluster.ErrRefused)
			}
			return nil
		}
		_, stop := w.lead(t)
		defer stop()
		w.create("a")
		want(t, w, "a")
		w.edit(func(all *[]cluster.Service) { (*all)[0].LoadBalancer = false })
		w.create("b")
		want(t, w, "a", "b 192.0.2.1 Allocated")
		refuse.Store(false)
		w.delete("b")
		w.edit(func(all *[]cluster.Service) { (*all)[0].LoadBalancer = true })
		time.Sleep(31 * time.Second)
		want(t, w, "a 192.0.2.1 Allocated")
	})
}

func TestServiceThatGoesWhileItIsWrittenIsForgotten(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1/32"))
		release := make(chan struct{})
		w.write = func(_ context.Context, key string) error {
			if key == "default/a" {
				<-release
			}
			return nil
		}
		a, stop := w.lead(t)
		defer stop()
		w.create("a", "b")
		want(t, w, "a", "b PoolExhausted")
		w.delete("a")
		want(t, w, "b 192.0.2.1 Allocated")
		close(release)
		synctest.Wait()
		w.create("c")
		want(t, w, "b 192.0.2.1 Allocated", "c PoolExhausted")
		if n := a.State().PendingWrites; n > 1 {
			t.Errorf("%d writes pending", n)
		}
	})
}

// The Source may show a status before its writer has heard that it is written.
func TestNoWriteIsPendingForEver(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("10.0.0.0/16"))
		a, stop := w.lead(t)
		defer stop()
		for i := range 50 {
			w.create(fmt.Sprintf("s%02d", i))
			time.Sleep(time.Second)
			synctest.Wait()
			if n := a.State().PendingWrites; n != 0 {
				t.Fatalf("%d writes pending a second after the only change", n)
			}
		}
	})
}

func TestManyServicesAreWrittenSixteenAtATime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("10.0.0.0/16"))
		w.write = func(context.Context, string) error { time.Sleep(10 * time.Millisecond); return nil }
		for i := range 200 {
			w.create(fmt.Sprintf("s%03d", i))
		}
		_, stop := w.lead(t)
		defer stop()
		time.Sleep(time.Second)
		synctest.Wait()
		seen := make(map[string]bool)
		for _, s := range w.status() {
			addr := strings.Fields(s)[1]
			if seen[addr] || !strings.HasSuffix(s, " Allocated") {
				t.Errorf("%s; address given twice: %v", s, seen[addr])
			}
			seen[addr] = true
		}
		if w.busiest != workers || w.writeCount() != 200 {
			t.Errorf("%d at a time, %d writes", w.busiest, w.writeCount())
		}
	})
}

func TestNothingIsWrittenBeforeTheCachesAreSynced(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1/32"))
		w.synced = false
		w.create("a")
		_, stop := w.lead(t)
		defer stop()
		time.Sleep(time.Minute)
		want(t, w, "a")
		w.mu.Lock()
		w.synced = true
		w.poke()
		w.mu.Unlock()
		want(t, w, "a 192.0.2.1 Allocated")
	})
}

func TestLostLeadershipEndsWithNoWriteUnderWay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("10.0.0.0/24"))
		for i := range 100 {
			w.create(fmt.Sprintf("s%03d", i))
		}
		w.write = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		a, stop := w.lead(t)
		synctest.Wait()
		if !a.State().Leader {
			t.Error("does not lead")
		}
		stop()
		if w.active != 0 || w.busiest != workers || w.writeCount() != 0 {
			t.Errorf("%d active, %d at most, %d written", w.active, w.busiest, w.writeCount())
		}
		if a.State().Leader {
			t.Error("leads still")
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	w := newWorld("")
	for _, o := range []Options{
		{},
		{Source: w, Statuses: w, ConfigMaps: w, Events: w},
		{Namespace: "a", ConfigMap: "b", Accepted: "c"},
		{Source: w, Statuses: w, ConfigMaps: w, Events: w, Namespace: "a", ConfigMap: "b", Accepted: "c", ServiceClass: "a b"},
		{Source: w, Statuses: w, ConfigMaps: w, Events: w, Namespace: "a", ConfigMap: "b", Accepted: "c", Classless: "no"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
