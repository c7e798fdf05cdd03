package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A label stands for what an object says.
func obj(name, version, label string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, UID: types.UID("uid-" + name), ResourceVersion: version,
		Labels: map[string]string{"v": label},
	}}
}

func reborn(o *corev1.Service) *corev1.Service {
	o.UID += "-2"
	return o
}

// Which of two tellings of an object wins: the watch's, or the answer to a write
// of ours.
func TestTableTakesTheNewerTelling(t *testing.T) {
	for _, tt := range []struct {
		desc string
		do   func(*table[string])
		want string
	}{
		{"the watch alone", func(tb *table[string]) {
			_ = tb.Add(obj("a", "5", "old"))
			_ = tb.Update(obj("a", "6", "new"))
		}, "a=new"},
		{"own write, the watch lags", func(tb *table[string]) {
			_ = tb.Add(obj("a", "5", "old"))
			tb.observe(obj("a", "9", "own"))
			_ = tb.Update(obj("a", "7", "between"))
		}, "a=own"},
		{"own write, the watch catches up", func(tb *table[string]) {
			_ = tb.Add(obj("a", "5", "old"))
			tb.observe(obj("a", "9", "own"))
			_ = tb.Update(obj("a", "9", "own"))
			_ = tb.Update(obj("a", "10", "theirs"))
		}, "a=theirs"},
		{"own write that the watch has overtaken", func(tb *table[string]) {
			_ = tb.Add(obj("a", "12", "theirs"))
			tb.observe(obj("a", "9", "own"))
		}, "a=theirs"},
		{"own write to what is deleted", func(tb *table[string]) {
			_ = tb.Add(obj("a", "5", "old"))
			_ = tb.Delete(obj("a", "11", "old"))
			tb.observe(obj("a", "9", "own"))
		}, ""},
		{"own write to what was made anew", func(tb *table[string]) {
			_ = tb.Add(reborn(obj("a", "8", "second")))
			tb.observe(obj("a", "9", "own"))
		}, "a=second"},
		{"own write, then a list from before it", func(tb *table[string]) {
			_ = tb.Replace([]any{obj("a", "5", "old"), obj("b", "4", "b")}, "6")
			tb.observe(obj("a", "9", "own"))
			_ = tb.Replace([]any{obj("a", "5", "old"), obj("b", "7", "b2")}, "7")
		}, "a=own b=b2"},
		{"own write, then a list from after it", func(tb *table[string]) {
			_ = tb.Replace([]any{obj("a", "5", "old")}, "6")
			tb.observe(obj("a", "9", "own"))
			_ = tb.Replace([]any{obj("a", "11", "theirs")}, "12")
		}, "a=theirs"},
		{"own write, then a list without it", func(tb *table[string]) {
			_ = tb.Replace([]any{obj("a", "5", "old")}, "6")
			tb.observe(obj("a", "9", "own"))
			_ = tb.Replace(nil, "12")
		}, "missing:a"},
		{"deleted by an event, then a list without it", func(tb *table[string]) {
			_ = tb.Replace([]any{obj("a", "5", "old"), obj("b", "5", "old")}, "6")
			_ = tb.Delete(obj("a", "7", "old"))
			_ = tb.Replace([]any{obj("b", "5", "old")}, "12")
		}, "b=old"},
		{"a list without two, then an event of one, and a list with the other", func(tb *table[string]) {
			_ = tb.Replace([]any{obj("a", "5", "old"), obj("b", "5", "old"), obj("c", "5", "old")}, "6")
			_ = tb.Replace(nil, "12")
			_ = tb.Add(obj("a", "13", "new"))
			_ = tb.Replace([]any{obj("a", "13", "new"), obj("b", "14", "new")}, "15")
		}, "a=new b=new missing:c"},
		{"a server restored from a backup", func(tb *table[string]) {
			_ = tb.Replace([]any{obj("a", "50", "old")}, "60")
			tb.observe(obj("a", "70", "own"))
			_ = tb.Replace([]any{obj("a", "5", "restored")}, "6")
		}, "a=restored"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			shadow := make(map[string]string) // as the changed function tells it
			tb := &table[string]{
				mu: new(sync.Mutex), rows: make(map[string]*row[string]), poke: func() {},
				convert: func(o any) string { return o.(*corev1.Service).Labels["v"] },
				changed: func(key string, _, is *string) {
					delete(shadow, key)
					if is != nil {
						shadow[key] = *is
					}
				},
			}
			tt.do(tb)
			var got []string
			for _, key := range slices.Sorted(maps.Keys(tb.rows)) {
				v := tb.rows[key].value
				got = append(got, strings.TrimPrefix(key, "default/")+"="+v)
				if shadow[key] != v {
					t.Errorf("told %q of %s, which is %q", shadow[key], key, v)
				}
			}
			for _, key := range slices.Sorted(maps.Keys(tb.missing)) {
				got = append(got, "missing:"+strings.TrimPrefix(key, "default/"))
			}
			if len(shadow) != len(tb.rows) || strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q; told %v", got, tt.want, shadow)
			}
		})
	}
}

func TestTableWakesOnlyForChangesOfWhatIsKept(t *testing.T) {
	pokes := 0
	tb := &table[string]{
		mu: new(sync.Mutex), rows: make(map[string]*row[string]), poke: func() { pokes++ },
		convert: func(o any) string { return o.(*corev1.Service).Labels["v"] },
		changed: func(string, *string, *string) {},
	}
	for i, step := range []struct {
		do   func()
		want int
	}{
		{func() { _ = tb.Replace([]any{obj("a", "1", "x")}, "1") }, 2}, // the object, and being synced
		{func() { _ = tb.Update(obj("a", "2", "x")) }, 2},
		{func() { tb.observe(obj("a", "3", "x")) }, 2},
		{func() { _ = tb.Update(obj("a", "4", "y")) }, 3},
		{func() { _ = tb.Delete(obj("b", "5", "")) }, 3},
		{func() { _ = tb.Delete(obj("a", "6", "y")) }, 4},
	} {
		if step.do(); pokes != step.want {
			t.Fatalf("%d wake-ups after step %d, want %d", pokes, i, step.want)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"9", "10", true},
		{"10", "9", false},
		{"10", "10", false},
		{"", "10", false},
		{"10", "", false},
		{"x", "10", false},
	} {
		if got := older(tt.a, tt.b); got != tt.want {
			t.Errorf("older(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}

func BenchmarkSnapshotAfterOneChangeAmong10000Services(b *testing.B) {
	w := NewWatcher(&Client{}, WatchOptions{Services: true, EndpointSlices: true})
	fill(b, w, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = w.services.Update(obj("s00042", fmt.Sprint(20_000+i), fmt.Sprint(i)))
		if snap, ok := w.Snapshot(); !ok || len(snap.Services) != 10_000 {
			b.Fatal("no Snapshot")
		}
	}
}

func BenchmarkSnapshotAfterNoChangeAmong10000Services(b *testing.B) {
	w := NewWatcher(&Client{}, WatchOptions{Services: true, EndpointSlices: true})
	fill(b, w, 10_000)
	for b.Loop() {
		if snap, _ := w.Snapshot(); len(snap.Services) != 10_000 {
			b.Fatal("no Snapshot")
		}
	}
}

func BenchmarkFirstSnapshotOf10000Services(b *testing.B) {
	for b.Loop() {
		w := NewWatcher(&Client{}, WatchOptions{Services: true, EndpointSlices: true})
		fill(b, w, 10_000)
	}
}
