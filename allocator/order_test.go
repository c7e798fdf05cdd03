package allocator

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

// ask sets a Service's annotation.
func (w *world) ask(name, key, value string) {
	w.edit(func(all *[]cluster.Service) {
		for i := range *all {
			if s := &(*all)[i]; s.Name == name {
				s.Annotations = map[string]string{key: value}
			}
		}
	})
}

// An address that one Service leaves for another is given on when that is written,
// and not at all if it cannot be.
func TestAnAddressIsGivenOnWhenItsStatusHasLeftIt(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/29"))
		_, stop := w.lead(t)
		defer stop()
		w.create("a", "b")
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated")
		w.ask("b", cluster.AnnotationAddresses, "192.0.2.0")
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 AddressInUse")
		var refuse atomic.Bool
		refuse.Store(true)
		w.write = func(_ context.Context, key string) error {
			time.Sleep(10 * time.Millisecond)
			if key == "default/a" && refuse.Load() {
				return fmt.Errorf("%w: by a webhook", cluster.ErrRefused)
			}
			return nil
		}
		w.ask("a", cluster.AnnotationAddresses, "192.0.2.5")
		time.Sleep(time.Minute)
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 AddressInUse")
		refuse.Store(false)
		time.Sleep(31 * time.Second)
		want(t, w, "a 192.0.2.5 Allocated", "b 192.0.2.0 Allocated")
	})
}

func TestExchangesAndChains(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/28"))
		w.write = func(context.Context, string) error { time.Sleep(10 * time.Millisecond); return nil }
		_, stop := w.lead(t)
		defer stop()
		w.create("a", "b", "c", "d", "e")
		time.Sleep(time.Second)
		// a and b exchange, c takes d's, d takes e's, and e takes a free one.
		w.edit(func(all *[]cluster.Service) {
			for i, ip := range []string{"192.0.2.1", "192.0.2.0", "192.0.2.3", "192.0.2.4", "192.0.2.9"} {
				(*all)[i].Annotations = map[string]string{cluster.AnnotationAddresses: ip}
			}
		})
		time.Sleep(15 * time.Millisecond)
		want(t, w, "a 192.0.2.1 Allocated", "b 192.0.2.0 Allocated",
			"c 192.0.2.2 Allocated", "d 192.0.2.3 Allocated", "e 192.0.2.9 Allocated")
		time.Sleep(time.Second)
		want(t, w, "a 192.0.2.1 Allocated", "b 192.0.2.0 Allocated",
			"c 192.0.2.3 Allocated", "d 192.0.2.4 Allocated", "e 192.0.2.9 Allocated")
	})
}
