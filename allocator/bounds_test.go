package allocator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

// Nothing that users write makes a message long, wherever it goes.
func TestMessagesAreShort(t *testing.T) {
	const most = 2000
	long := strings.Repeat("\x01", 330<<10)
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/24"))
		longest := 0
		w.write = func(context.Context, string) error { return nil }
		_, stop := w.lead(t)
		defer stop()
		w.create("a", "b", "c", "d", "e", "f", "g", "h", "i")
		w.edit(func(all *[]cluster.Service) {
			for i := range *all {
				s := &(*all)[i]
				s.Annotations = map[string]string{}
				switch s.Name {
				case "a":
					s.Annotations[cluster.AnnotationAddresses] = long
				case "b":
					s.LoadBalancerIP = long
				case "c":
					s.Annotations[cluster.AnnotationAddresses], s.LoadBalancerIP = "192.0.2.7", long
				case "d":
					s.Annotations[cluster.AnnotationPool] = long
				case "e":
					s.Annotations[cluster.AnnotationAddresses], s.Annotations[cluster.AnnotationPool] = "192.0.2.8", long
				case "f":
					s.Annotations[cluster.AnnotationSharingKey] = long
				case "g":
					s.Annotations[cluster.AnnotationAddresses] = strings.Repeat("192.0.2.9,", 20000)
				case "h":
					s.Adorned, s.StatusOf = true, long
				case "i":
					s.Condition = cluster.Condition{Allocated: true, Reason: "Allocated", Message: long}
				}
			}
		})
		synctest.Wait()
		check := func(when string) {
			t.Helper()
			synctest.Wait()
			for _, s := range w.truth {
				longest = max(longest, len(s.Condition.Message))
				if n := len(s.Condition.Message); n > most {
					t.Errorf("%s: condition of %s has %d bytes: %.100s", when, s.Name, n, s.Condition.Message)
				}
			}
			for _, e := range w.events {
				if len(e) > most {
					t.Errorf("%s: Event of %d bytes: %.100s", when, len(e), e)
				}
			}
		}
		check("requests")
		t.Logf("the longest message has %d bytes", longest)
		for _, text := range []string{
			"apiVersion: heraldlb.io/v1\npools: [{name: p, ranges: [" + strings.Repeat("x", 500<<10) + "]}]\n",
			"apiVersion: heraldlb.io/v1\n" + strings.Repeat("y", 500<<10) + ": 1\n",
			"apiVersion: heraldlb.io/v1\npools: [{name: {" + strings.Repeat("z", 500<<10) + ": 1}, ranges: []}]\n",
			"apiVersion: heraldlb.io/v1\npools:" + strings.Repeat("\n- {name: p, ranges: [10.0.0.1/8]}", 10000) + "\n",
			strings.Repeat("\t", 500<<10),
		} {
			w.configure(text)
			check(fmt.Sprintf("configuration %.40q", text))
		}
	})
}
