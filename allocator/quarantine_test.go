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
)

// What a Service leaves is handed out last for five minutes, and first again then.
func TestAnAddressThatWasLeftIsInQuarantine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/29"))
		w.create("a", "b")
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated")
		w.delete("a")
		w.edit(func(all *[]cluster.Service) {
			(*all)[0].Annotations = map[string]string{cluster.AnnotationAddresses: "192.0.2.3"}
		})
		want(t, w, "b 192.0.2.3 Allocated")
		w.create("c")
		want(t, w, "b 192.0.2.3 Allocated", "c 192.0.2.2 Allocated")
		time.Sleep(4 * time.Minute)
		w.create("d")
		want(t, w, "b 192.0.2.3 Allocated", "c 192.0.2.2 Allocated", "d 192.0.2.4 Allocated")
		time.Sleep(time.Minute)
		w.create("e")
		want(t, w, "b 192.0.2.3 Allocated", "c 192.0.2.2 Allocated", "d 192.0.2.4 Allocated", "e 192.0.2.0 Allocated")
	})
}

// Nobody waits for its end.
func TestAFullPoolDoesNotWaitForAQuarantine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/31"))
		w.create("a", "b", "c")
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated", "c PoolExhausted")
		w.delete("b")
		want(t, w, "a 192.0.2.0 Allocated", "c 192.0.2.1 Allocated")
	})
}

func TestAPoolWithoutQuarantine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(strings.Replace(pool("192.0.2.0/29"), "- name: public\n", "- name: public\n  quarantine: 0s\n", 1))
		w.create("a", "b")
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated")
		w.delete("a")
		want(t, w, "b 192.0.2.1 Allocated")
		w.create("c")
		want(t, w, "b 192.0.2.1 Allocated", "c 192.0.2.0 Allocated")
	})
}

// An address is left when the status has let go of it, not when that is decided.
func TestAQuarantineBeginsWhenTheStatusLetsGo(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/29"))
		w.create("a")
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.0 Allocated")
		w.set(func() {
			w.write = func(context.Context, string) error { return errors.New("not now") }
		})
		w.edit(func(all *[]cluster.Service) {
			(*all)[0].Annotations = map[string]string{cluster.AnnotationAddresses: "192.0.2.4"}
		})
		time.Sleep(10 * time.Minute)
		w.set(func() { w.write = nil })
		time.Sleep(2 * time.Minute)
		w.create("b")
		want(t, w, "a 192.0.2.4 Allocated", "b 192.0.2.1 Allocated")
	})
}

// The next leader knows what was left before its time, from the report.
func TestANewLeaderKnowsTheQuarantine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/29"))
		w.options.Status = statusName
		w.create("a", "b")
		_, stop := w.lead(t)
		defer func() { stop() }()
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated")
		w.delete("a")
		time.Sleep(reportPause)
		synctest.Wait()
		stop()
		_, stop = w.lead(t)
		w.create("c")
		want(t, w, "b 192.0.2.1 Allocated", "c 192.0.2.2 Allocated")
		time.Sleep(5*time.Minute - reportPause)
		w.create("d")
		want(t, w, "b 192.0.2.1 Allocated", "c 192.0.2.2 Allocated", "d 192.0.2.0 Allocated")
	})
}
