package kube

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/heraldlb/herald/internal/cluster"
)

// WatchOptions say what a Watcher keeps.
type WatchOptions struct {
	Services       bool
	EndpointSlices bool   // endpoints of the Services; needs Services
	Nodes          bool   //
	Namespaces     bool   // labels of the Services' Namespaces; needs Services
	ConfigMap      string // name of one ConfigMap in the client's namespace; empty: none
}

// Watcher keeps a copy of a part of the cluster.
type Watcher struct {
	client *Client
	want   WatchOptions
	wake   chan struct{}

	mu       sync.Mutex // guards all below, the tables' contents too
	services *table[service]
	slices   *table[slice]
	nodes    *table[cluster.Node]
	configs  *table[cluster.ConfigMap]

	namespaces *table[map[string]string] // their labels

	slicesOf map[string]map[string]bool // Service key -> EndpointSlice keys
	stale    map[string]bool            // Service keys that differ from last
	aged     bool                       // Nodes differ from last
	last     cluster.Snapshot
	away     time.Time // see LastAway
}

// NewWatcher makes a Watcher that keeps nothing before Run.
func NewWatcher(c *Client, o WatchOptions) *Watcher {
	w := &Watcher{
		client:   c,
		want:     o,
		wake:     make(chan struct{}, 1),
		slicesOf: make(map[string]map[string]bool),
		stale:    make(map[string]bool),
	}
	w.services = newTable(w, toService, w.serviceChanged)
	w.slices = newTable(w, toSlice, w.sliceChanged)
	w.nodes = newTable(w, toNode, func(string, *cluster.Node, *cluster.Node) { w.aged = true })
	w.configs = newTable(w, toConfigMap, func(string, *cluster.ConfigMap, *cluster.ConfigMap) {})
	w.namespaces = newTable(w, toLabels, func(name string, _, _ *map[string]string) { w.namespaceChanged(name) })
	return w
}

func newTable[V any](w *Watcher, convert func(any) V, changed func(string, *V, *V)) *table[V] {
	return &table[V]{
		mu: &w.mu, convert: convert, changed: changed, poke: w.poke, rows: make(map[string]*row[V]),
	}
}

// Run watches until ctx ends. It returns nil then, and has no other reason to
// return: an API server that is away is waited for.
func (w *Watcher) Run(ctx context.Context) error {
	if (w.want.EndpointSlices || w.want.Namespaces) && !w.want.Services {
		return fmt.Errorf("watch: EndpointSlices or Namespaces without Services")
	}
	var wg sync.WaitGroup
	for _, r := range w.reflectors() {
		wg.Go(func() { r.run(ctx) })
	}
	wg.Wait()
	return nil
}

func (w *Watcher) reflectors() []reflector {
	var all []reflector
	core, discovery := w.client.api.CoreV1(), w.client.api.DiscoveryV1()
	if w.want.Services {
		all = append(all, w.client.reflect("services", &corev1.Service{}, w.services,
			typed(core.Services("").List, core.Services("").Watch), w.noteAway))
	}
	if w.want.EndpointSlices {
		all = append(all, w.client.reflect("endpointslices", &discoveryv1.EndpointSlice{}, w.slices,
			typed(discovery.EndpointSlices("").List, discovery.EndpointSlices("").Watch), w.noteAway))
	}
	if w.want.Nodes {
		all = append(all, w.client.reflect("nodes", &corev1.Node{}, w.nodes,
			typed(core.Nodes().List, core.Nodes().Watch), w.noteAway))
	}
	if w.want.Namespaces {
		all = append(all, w.client.reflect("namespaces", &corev1.Namespace{}, w.namespaces,
			typed(core.Namespaces().List, core.Namespaces().Watch), w.noteAway))
	}
	if w.want.ConfigMap != "" {
		maps := core.ConfigMaps(w.client.namespace)
		all = append(all, w.client.reflect("configmaps", &corev1.ConfigMap{}, w.configs,
			onlyNamed(w.want.ConfigMap, typed(maps.List, maps.Watch)), w.noteAway))
	}
	return all
}

// Wake receives after something has changed, and once everything is synced. It
// says neither what nor how often: take a Snapshot.
func (w *Watcher) Wake() <-chan struct{} { return w.wake }

func (w *Watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is already waiting
	}
}

// Snapshot is what is known now, and whether everything was heard of at least
// once. It shows every write of ours that the API server has confirmed.
func (w *Watcher) Snapshot() (cluster.Snapshot, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.synced() {
		return cluster.Snapshot{}, false
	}
	if w.aged || len(w.stale) > 0 {
		w.last.Missing = w.missing()
	}
	if w.aged {
		w.last.Nodes = w.sortedNodes()
		w.aged = false
	}
	if len(w.stale) > 0 {
		w.last.Services = w.sortedServices()
		clear(w.stale)
	}
	return w.last, true
}

// ConfigMap is the watched ConfigMap, and whether it exists. It does not exist
// before the caches are synced either: ask Synced when that matters.
func (w *Watcher) ConfigMap() (cluster.ConfigMap, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.configs.rows[w.client.namespace+"/"+w.want.ConfigMap]
	if !ok {
		return cluster.ConfigMap{}, false
	}
	return r.value, true
}

// Synced tells whether everything was heard of at least once. It stays true when
// the API server goes away.
func (w *Watcher) Synced() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.synced()
}

// LastAway is when the API server was last found away after it had been away for
// more than five seconds; the zero time: never.
func (w *Watcher) LastAway() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}

func (w *Watcher) noteAway() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = time.Now()
}

func (w *Watcher) synced() bool {
	return (!w.want.Services || w.services.synced) &&
		(!w.want.EndpointSlices || w.slices.synced) &&
		(!w.want.Nodes || w.nodes.synced) &&
		(!w.want.Namespaces || w.namespaces.synced) &&
		(w.want.ConfigMap == "" || w.configs.synced)
}

func (w *Watcher) serviceChanged(key string, _, _ *service) { w.stale[key] = true }

// namespaceChanged makes the Services of a namespace stale. That is rare: labels of
// Namespaces hardly change.
func (w *Watcher) namespaceChanged(name string) {
	for key, r := range w.services.rows {
		if r.value.Namespace == name {
			w.stale[key] = true
		}
	}
}

func (w *Watcher) sliceChanged(key string, was, is *slice) {
	if was != nil && was.service != "" {
		delete(w.slicesOf[was.service], key)
		if len(w.slicesOf[was.service]) == 0 {
			delete(w.slicesOf, was.service)
		}
		w.stale[was.service] = true
	}
	if is != nil && is.service != "" {
		if w.slicesOf[is.service] == nil {
			w.slicesOf[is.service] = make(map[string]bool)
		}
		w.slicesOf[is.service][key] = true
		w.stale[is.service] = true
	}
}

// sortedServices is the next Snapshot's Services: those of the last, but for the
// stale ones. Holders of the last Snapshot keep theirs, so it is a new slice;
// what lies between two stale ones is copied as it is.
func (w *Watcher) sortedServices() []cluster.Service {
	last := w.last.Services
	next := make([]cluster.Service, 0, len(w.services.rows))
	for _, key := range slices.Sorted(maps.Keys(w.stale)) {
		i, found := slices.BinarySearchFunc(last, key, compareKey)
		next, last = append(next, last[:i]...), last[i:]
		if found {
			last = last[1:]
		}
		if r, ok := w.services.rows[key]; ok {
			s := r.value.Service
			s.Endpoints = w.endpoints(key)
			ns, known := w.namespaces.rows[s.Namespace]
			switch {
			case known:
				s.NamespaceLabels = ns.value
			case w.want.Namespaces && len(s.Ingress) == 0:
				continue // it would get an address of a pool for others; its Namespace will be heard of
			}
			next = append(next, s)
		}
	}
	return append(next, last...)
}

// missing is what the last lists did not have. Each change of it is a change of
// Services or Nodes, too.
func (w *Watcher) missing() cluster.Missing {
	m := cluster.Missing{Services: keys(w.services.missing), Nodes: keys(w.nodes.missing)}
	for _, s := range w.slices.missing {
		if s.value.service != "" {
			if m.Endpoints == nil {
				m.Endpoints = map[string]bool{}
			}
			m.Endpoints[s.value.service] = true
		}
	}
	return m
}

func keys[V any](m map[string]V) map[string]bool {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}

// compareKey compares a Service's key with another one, without making it. The
// "/" counts: "a-b/c" is before "a/b".
func compareKey(s cluster.Service, key string) int {
	var buf [128]byte
	return bytes.Compare(append(append(append(buf[:0], s.Namespace...), '/'), s.Name...), []byte(key))
}

func (w *Watcher) endpoints(service string) []cluster.Endpoint {
	var all []cluster.Endpoint
	for key := range w.slicesOf[service] {
		all = append(all, w.slices.rows[key].value.endpoints...)
	}
	return mergeEndpoints(all)
}

func (w *Watcher) sortedNodes() []cluster.Node {
	all := make([]cluster.Node, 0, len(w.nodes.rows))
	for _, name := range slices.Sorted(maps.Keys(w.nodes.rows)) {
		all = append(all, w.nodes.rows[name].value)
	}
	return all
}
