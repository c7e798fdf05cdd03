package allocator

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

// give makes another controller write a Service's ingress.
func (w *world) give(name, manager string, addrs ...string) {
	w.edit(func(all *[]cluster.Service) { give(all, name, manager, addrs...) })
}

// give without any address gives a hostname.
func give(all *[]cluster.Service, name, manager string, addrs ...string) {
	for i := range *all {
		if s := &(*all)[i]; s.Name == name {
			s.Ingress, s.StatusOf, s.Adorned = nil, manager, len(addrs) == 0
			for _, a := range addrs {
				s.Ingress = append(s.Ingress, netip.MustParseAddr(a))
			}
		}
	}
}

// Whoever installs Herald beside another controller, with or without pools, loses
// nothing.
func TestStatusesOfAnotherControllerAreLeftAlone(t *testing.T) {
	for desc, text := range map[string]string{
		"no configuration": "", "a broken one": broken, "pools": pool("192.0.2.0/24"),
	} {
		t.Run(desc, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(text)
				w.create("host", "one", "three")
				w.give("host", "cloud")
				w.give("one", "k3s", "203.0.113.7")
				w.give("three", "k3s", "10.0.0.11", "10.0.0.12", "10.0.0.13")
				a, stop := w.lead(t)
				defer stop()
				time.Sleep(5 * time.Minute)
				want(t, w, "host", "one 203.0.113.7", "three 10.0.0.11,10.0.0.12,10.0.0.13")
				if n := w.writeCount(); n != 0 || w.eventsWith("Normal ServedByAnother") != 0 {
					t.Errorf("writes %q, Events %q", w.writes, w.events)
				}
				if n := a.State().Services["ServedByAnother"]; n != 3 {
					t.Errorf("/state says %v", a.State().Services)
				}
			})
		})
	}
}

// What was said to a Service that another controller has come to serve is taken
// back, and nothing else.
func TestAServiceThatAnotherControllerHasTaken(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1/32"))
		w.create("a", "b")
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.1 Allocated", "b PoolExhausted")
		w.give("b", "k3s", "10.0.0.11")
		want(t, w, "a 192.0.2.1 Allocated", "b 10.0.0.11")
		w.edit(func(all *[]cluster.Service) {
			(*all)[1].Annotations = map[string]string{cluster.AnnotationPool: "public"}
		})
		want(t, w, "a 192.0.2.1 Allocated", "b 10.0.0.11 PoolExhausted")
		w.delete("a")
		want(t, w, "b 192.0.2.1 Allocated")
	})
}

// Hostname, ports and mode are Herald's as much as the address is.
func TestWhatAStatusSaysBesideTheAddressIsPutRight(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1/32"))
		w.create("a")
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.1 Allocated")
		w.edit(func(all *[]cluster.Service) { (*all)[0].Adorned = true })
		synctest.Wait()
		if w.truth[0].Adorned {
			t.Error("ipMode or hostname is left as somebody else wrote it")
		}
	})
}
