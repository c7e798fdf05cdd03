package allocator

import (
	"testing"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

// classes makes the Services a (without a class), b (of Herald's class) and c (of
// another).
func classes(w *world) {
	w.create("a", "b", "c")
	w.edit(func(all *[]cluster.Service) { (*all)[1].Class, (*all)[2].Class = cluster.Class, "example.com/x" })
}

func TestServicesThatAreServed(t *testing.T) {
	for text, status := range map[string][]string{
		"":                            {"a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated", "c"},
		"classless: ignore\n":         {"a", "b 192.0.2.0 Allocated", "c"},
		"serviceClass: example.com/x": {"a 192.0.2.0 Allocated", "b", "c 192.0.2.1 Allocated"},
	} {
		t.Run(text, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(pool("192.0.2.0/24") + text)
				classes(w)
				_, stop := w.lead(t)
				defer stop()
				want(t, w, status...)
			})
		})
	}
}

// Who writes classless: ignore late loses nothing that is served.
func TestClasslessServicesThatHaveAnAddressKeepIt(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/24"))
		classes(w)
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated", "c")
		w.configure(pool("192.0.2.0/24") + "classless: ignore\n")
		w.create("d")
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated", "c", "d")
	})
}

// What the allocator was started with counts before there is a configuration, and
// more than what it says; and the speakers hear of it.
func TestFlagsCountMoreThanTheConfiguration(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld("")
		w.options.Classless, w.options.ServiceClass = "ignore", "example.com/x"
		classes(w)
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a", "b", "c NoConfiguration")
		w.configure(pool("192.0.2.0/24") + "classless: serve\n")
		want(t, w, "a", "b", "c 192.0.2.0 Allocated")
		if s := accepted(t, w).Scope; !s.SkipClassless || s.Class != "example.com/x" {
			t.Errorf("published: %+v", s)
		}
	})
}
