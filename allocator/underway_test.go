package allocator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

// What changes while a Service's own write is under way counts as soon as that
// write has ended, not when something else happens.
func TestAChangeDuringTheOwnWriteCounts(t *testing.T) {
	two := pool("192.0.2.1-192.0.2.2")
	for desc, tt := range map[string]struct {
		config string
		change func(w *world)
		want   []string
	}{
		"the Service asks for another address": {pool("192.0.2.1-192.0.2.3"), func(w *world) {
			w.edit(func(all *[]cluster.Service) {
				(*all)[1].Annotations = map[string]string{cluster.AnnotationAddresses: "192.0.2.3"}
			})
		}, []string{"a 192.0.2.1 Allocated", "b 192.0.2.3 Allocated"}},
		"another Service goes":             {pool("192.0.2.1/32"), func(w *world) { w.delete("a") }, []string{"b 192.0.2.1 Allocated"}},
		"the pool grows":                   {pool("192.0.2.1/32"), func(w *world) { w.configure(two) }, []string{"a 192.0.2.1 Allocated", "b 192.0.2.2 Allocated"}},
		"there is no configuration before": {"", func(w *world) { w.configure(two) }, []string{"a 192.0.2.1 Allocated", "b 192.0.2.2 Allocated"}},
		"the type changes": {two, func(w *world) {
			w.edit(func(all *[]cluster.Service) { (*all)[1].LoadBalancer, (*all)[1].Ingress = false, nil })
		}, []string{"a 192.0.2.1 Allocated", "b"}},
	} {
		t.Run(desc, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(tt.config)
				w.create("a")
				_, stop := w.lead(t)
				defer stop()
				synctest.Wait()
				w.write = func(context.Context, string) error { time.Sleep(50 * time.Millisecond); return nil }
				w.create("b")
				time.Sleep(20 * time.Millisecond)
				tt.change(w)
				time.Sleep(200 * time.Millisecond)
				want(t, w, tt.want...)
			})
		})
	}
}
