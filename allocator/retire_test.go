package allocator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

func accepted(t *testing.T, w *world) *config.Config {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := config.Parse([]byte(w.accepted.Data[ConfigKey]))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// retired are the retired ranges of the accepted configuration.
func retired(t *testing.T, w *world) string {
	t.Helper()
	var all []string
	for _, p := range accepted(t, w).Pools {
		for _, r := range p.Retired {
			all = append(all, p.Name+" "+r.String())
		}
	}
	return strings.Join(all, ", ")
}

// An edit that leaves addresses in use out of every pool takes them from nobody. The
// speakers find them in what is published, until their Services go or ask to move.
func TestAddressesOfARemovedRangeStay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("10.99.16.0/29"))
		w.create("a", "b", "c", "d")
		_, stop := w.lead(t)
		defer func() { stop() }()
		want(t, w, "a 10.99.16.0 Allocated", "b 10.99.16.1 Allocated", "c 10.99.16.2 Allocated", "d 10.99.16.3 Allocated")
		user := pool("10.99.16.3-10.99.16.3", "10.99.32.0/29")
		w.configure(user)
		want(t, w, "a 10.99.16.0 AddressRetired", "b 10.99.16.1 AddressRetired", "c 10.99.16.2 AddressRetired", "d 10.99.16.3 Allocated")
		if got := retired(t, w); got != "public 10.99.16.0-10.99.16.2" {
			t.Errorf("retired: %s", got)
		}
		note := "pools: 10.99.16.0 of pool public, which default/a has, and 2 more are in no pool any more; they stay, and are announced, "
		if n := w.eventsWith("Warning ConfigurationAccepted"); n != 1 || !strings.Contains(strings.Join(w.events, "\n"), note) {
			t.Errorf("Events %q", w.events)
		}
		if n := w.eventsWith("Warning AddressRetired default/"); n != 3 {
			t.Errorf("Events %q", w.events)
		}

		// One goes, one asks to move.
		w.delete("a")
		w.edit(func(all *[]cluster.Service) {
			(*all)[0].Annotations = map[string]string{cluster.AnnotationPool: "public", cluster.AnnotationAddresses: "10.99.32.5"}
		})
		want(t, w, "b 10.99.32.5 Allocated", "c 10.99.16.2 AddressRetired", "d 10.99.16.3 Allocated")
		if got := retired(t, w); got != "public 10.99.16.2/32" {
			t.Errorf("retired: %s", got)
		}

		// The next leader keeps it too, and writes nothing.
		before := w.writeCount()
		stop()
		var a *Allocator
		a, stop = w.lead(t)
		want(t, w, "b 10.99.32.5 Allocated", "c 10.99.16.2 AddressRetired", "d 10.99.16.3 Allocated")
		if got := retired(t, w); got != "public 10.99.16.2/32" || w.writeCount() != before {
			t.Errorf("retired: %s; %d writes", got, w.writeCount()-before)
		}

		// Its pool goes altogether.
		w.configure(strings.Replace(user, "name: public", "name: other", 1))
		want(t, w, "b 10.99.32.5 Allocated", "c 10.99.16.2 AddressRetired", "d 10.99.16.3 Allocated")
		if got := retired(t, w); got != "public 10.99.16.2/32" {
			t.Errorf("retired: %s", got)
		}
		w.delete("c")
		synctest.Wait()
		if got := accepted(t, w); len(got.Pools) != 1 || len(a.State().ConfigWarnings) != 0 {
			t.Errorf("pools %+v, warnings %q", got.Pools, a.State().ConfigWarnings)
		}
	})
}

func TestAddressesOfARemovedRangeAreReleasedOnRequest(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("10.99.16.0/29"))
		w.create("a", "b")
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 10.99.16.0 Allocated", "b 10.99.16.1 Allocated")
		w.configure(pool("10.99.16.1-10.99.16.1", "10.99.32.0/29") + "onRemoval: release\n")
		want(t, w, "a 10.99.32.0 Allocated", "b 10.99.16.1 Allocated")
	})
}

// Whoever moves keeps the old address, and speakers announce it, until the status says
// the new one: the write may fail.
func TestARetiredAddressStaysWhileItsServiceMoves(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("10.99.16.0/29"))
		w.create("a")
		_, stop := w.lead(t)
		defer func() { stop() }()
		want(t, w, "a 10.99.16.0 Allocated")
		w.configure(pool("10.99.32.0/29"))
		want(t, w, "a 10.99.16.0 AddressRetired")

		w.set(func() { w.write = func(context.Context, string) error { return errors.New("etcd is full") } })
		w.edit(func(all *[]cluster.Service) {
			(*all)[0].Annotations = map[string]string{cluster.AnnotationAddresses: "10.99.32.5"}
		})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := retired(t, w); got != "public 10.99.16.0/32" {
			t.Errorf("retired while the write fails: %q", got)
		}
		w.set(func() { w.write = nil })
		time.Sleep(time.Minute)
		want(t, w, "a 10.99.32.5 Allocated")
		if got := retired(t, w); got != "" {
			t.Errorf("retired: %q", got)
		}
	})
}
