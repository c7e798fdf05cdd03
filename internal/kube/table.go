package kube

import (
	"maps"
	"reflect"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
)

// A table is where a reflector puts what it hears of one kind of object: as our
// own values, keyed by namespace/name. It is a cache.ReflectorStore.
//
// It also takes in the answers to our own writes (see observe), so that a
// Snapshot never lacks a write that the API server has confirmed to us, although
// the watch may bring it later. Without that, the allocator would hand an
// address that it has just given away to the next Service.
type table[V any] struct {
	mu      *sync.Mutex
	convert func(obj any) V
	changed func(key string, was, is *V) // with mu held; nil stands for absent
	poke    func()

	rows    map[string]*row[V]
	missing map[string]missing[V] // rows that the last lists did not have
	heard   string                // newest resource version that the reflector has passed on
	synced  bool
}

// missing is what a row said before a list did not have it any more.
type missing[V any] struct {
	value V
	since time.Time
}

// missingFor is how long a table remembers what a list did not have. Who holds a
// route for such an object does so for less (nodes.fuse.holdTime).
const missingFor = 10 * time.Minute

type row[V any] struct {
	value   V
	uid     string
	version string
	ours    bool // came in by observe; the watch has not caught up yet
}

var (
	_ cache.TransformingStore      = (*table[int])(nil)
	_ cache.ResourceVersionUpdater = (*table[int])(nil)
)

// Add implements cache.ReflectorStore.
func (t *table[V]) Add(obj any) error { return t.Update(obj) }

// Update implements cache.ReflectorStore.
func (t *table[V]) Update(obj any) error {
	m := obj.(metav1.Object)
	next := &row[V]{value: t.convert(obj), uid: string(m.GetUID()), version: m.GetResourceVersion()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = next.version
	if old := t.rows[keyOf(m)]; old != nil && old.ours && older(next.version, old.version) {
		return nil // from before our own write
	}
	t.put(keyOf(m), next)
	return nil
}

// Delete implements cache.ReflectorStore.
func (t *table[V]) Delete(obj any) error {
	m := obj.(metav1.Object)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = m.GetResourceVersion()
	t.put(keyOf(m), nil)
	return nil
}

// Replace implements cache.ReflectorStore: objs is everything there is.
func (t *table[V]) Replace(objs []any, version string) error {
	next := make(map[string]*row[V], len(objs))
	for _, obj := range objs {
		m := obj.(metav1.Object)
		next[keyOf(m)] = &row[V]{value: t.convert(obj), uid: string(m.GetUID()), version: m.GetResourceVersion()}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// A list that is older than what we heard before means that the server itself
	// went back in time (a restored backup). Then the list is right and we are not.
	wentBack := t.synced && older(version, t.heard)
	if t.missing == nil {
		t.missing = map[string]missing[V]{}
	}
	maps.DeleteFunc(t.missing, func(_ string, m missing[V]) bool { return time.Since(m.since) > missingFor })
	for key, old := range t.rows {
		switch {
		case !wentBack && old.ours && older(version, old.version):
			next[key] = old // listed from before our own write
		case next[key] == nil:
			t.missing[key] = missing[V]{old.value, time.Now()}
			t.put(key, nil)
		}
	}
	for key, r := range next {
		t.put(key, r)
	}
	t.heard = version
	if !t.synced {
		t.synced = true
		t.poke()
	}
	return nil
}

// Resync implements cache.ReflectorStore. There is nothing to do: consumers take
// the whole truth each time.
func (t *table[V]) Resync() error { return nil }

// UpdateResourceVersion implements cache.ResourceVersionUpdater: bookmarks.
func (t *table[V]) UpdateResourceVersion(version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = version
}

// Transformer implements cache.TransformingStore. The reflector collects a first
// list in a store of its own; managedFields would be half of its size. They tell
// whose a Service's status is, and that much stays.
func (t *table[V]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if m, ok := obj.(metav1.Object); ok {
			m.SetManagedFields(thin(m.GetManagedFields()))
		}
		return obj, nil
	}
}

// observe takes in the server's answer to a write of ours. An answer for an
// object that has gone meanwhile, or that the watch has overtaken, is dropped.
func (t *table[V]) observe(obj any) {
	m := obj.(metav1.Object)
	next := &row[V]{value: t.convert(obj), uid: string(m.GetUID()), version: m.GetResourceVersion(), ours: true}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.rows[keyOf(m)]
	if old == nil || old.uid != next.uid || !older(old.version, next.version) {
		return
	}
	t.put(keyOf(m), next)
}

// put stores a row, or removes it when next is nil. It pokes only if the value
// differs: most updates of a Node or a Service change nothing that we keep.
func (t *table[V]) put(key string, next *row[V]) {
	old := t.rows[key]
	if next == nil {
		if old == nil {
			return
		}
		delete(t.rows, key)
		t.changed(key, &old.value, nil)
		t.poke()
		return
	}
	t.rows[key] = next
	delete(t.missing, key)
	switch {
	case old == nil:
		t.changed(key, nil, &next.value)
	case old.uid == next.uid && reflect.DeepEqual(old.value, next.value):
		return
	default:
		t.changed(key, &old.value, &next.value)
	}
	t.poke()
}

func keyOf(m metav1.Object) string {
	if m.GetNamespace() == "" {
		return m.GetName()
	}
	return m.GetNamespace() + "/" + m.GetName()
}

// older tells whether version a is from before b. Versions that cannot be
// compared count as newer, so that the watch has the last word.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
