package allocator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

var errLost = errors.New("connection reset")

// A world is a cluster in memory. What a Snapshot shows is a copy that lags
// behind the truth when told to.
type world struct {
	mu       sync.Mutex
	wake     chan struct{}
	truth    []cluster.Service
	shown    []cluster.Service
	nodes    []cluster.Node
	lagging  bool // shown does not follow truth
	synced   bool
	config   *cluster.ConfigMap
	accepted *cluster.ConfigMap
	version  int

	writes    []string // "default/web 192.0.2.1 Allocated"
	events    []string // "Normal Allocated default/web"
	publishes []string // hash and source version
	reports   []string // of the status
	unread    error    // when the report is read
	active    int
	busiest   int

	write   func(ctx context.Context, key string) error // before a write; nil: success
	after   func(key string) error                      // after it has taken place
	wrote   func(was, is cluster.Service)               // is told of each write
	publish func() error
	caught  int // calls of CatchUp
	leaders int // so far
	metrics *Metrics
	options Options // more of them
}

func newWorld(configText string) *world {
	w := &world{wake: make(chan struct{}, 1), synced: true}
	if configText != "" {
		w.configure(configText)
	}
	return w
}

func (w *world) configure(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	w.config = &cluster.ConfigMap{
		Namespace: "herald-system", Name: "herald", UID: "cm",
		Version: fmt.Sprint(w.version), Data: map[string]string{ConfigKey: text},
	}
	w.poke()
}

// set changes the world's own fields.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// edit changes the truth, and what is shown unless it lags.
func (w *world) edit(change func(*[]cluster.Service)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.editLocked(change)
}

func (w *world) editLocked(change func(*[]cluster.Service)) {
	w.truth = slices.Clone(w.truth)
	change(&w.truth)
	slices.SortFunc(w.truth, func(a, b cluster.Service) int { return cmp.Compare(a.Key(), b.Key()) })
	if !w.lagging {
		w.shown = w.truth
	}
	w.poke()
}

// create adds Services of one IPv4 address each. Their order is their age.
func (w *world) create(names ...string) {
	for _, name := range names {
		w.edit(func(all *[]cluster.Service) {
			*all = append(*all, cluster.Service{
				Namespace: "default", Name: name, UID: "uid-" + name, LoadBalancer: true,
				Created:  time.Unix(int64(len(*all)), 0),
				Families: []cluster.Family{cluster.IPv4}, FamilyPolicy: cluster.SingleStack,
				Ports: []cluster.Port{{Protocol: "TCP", Port: 80}},
			})
		})
	}
}

// createOldest adds a Service that is asked before all others, and shows it even
// while what is shown lags.
func (w *world) createOldest(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	svc := cluster.Service{
		Namespace: "default", Name: name, UID: "uid-" + name, LoadBalancer: true, Created: time.Unix(-1, 0),
		Families: []cluster.Family{cluster.IPv4}, FamilyPolicy: cluster.SingleStack,
	}
	w.truth = append([]cluster.Service{svc}, w.truth...)
	w.shown = append([]cluster.Service{svc}, w.shown...)
	w.poke()
}

func (w *world) delete(name string) {
	w.edit(func(all *[]cluster.Service) {
		*all = slices.DeleteFunc(*all, func(s cluster.Service) bool { return s.Name == name })
	})
}

func (w *world) Wake() <-chan struct{} { return w.wake }

func (w *world) Snapshot() (cluster.Snapshot, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cluster.Snapshot{Services: w.shown, Nodes: w.nodes}, w.synced
}

func (w *world) ConfigMap() (cluster.ConfigMap, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.config == nil {
		return cluster.ConfigMap{}, false
	}
	return *w.config, true
}

func (w *world) CatchUp(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.caught++
	w.shown = w.truth
	return nil
}

func (w *world) ApplyStatus(ctx context.Context, svc cluster.Service, ingress []netip.Addr, c cluster.Condition) error {
	return w.put(ctx, svc, c, func(s *cluster.Service) { s.Ingress, s.Adorned, s.StatusOf = ingress, false, "" })
}

func (w *world) ApplyCondition(ctx context.Context, svc cluster.Service, c cluster.Condition) error {
	return w.put(ctx, svc, c, func(*cluster.Service) {})
}

func (w *world) ReleaseStatus(ctx context.Context, svc cluster.Service) error {
	return w.put(ctx, svc, cluster.Condition{}, func(s *cluster.Service) {
		if s.StatusOf == "" {
			s.Ingress = nil
		}
	})
}

func (w *world) put(ctx context.Context, svc cluster.Service, c cluster.Condition, change func(*cluster.Service)) error {
	w.count(1)
	defer w.count(-1)
	if w.write != nil {
		if err := w.write(ctx, svc.Key()); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	found := false
	var now cluster.Service
	w.editLocked(func(all *[]cluster.Service) {
		for i := range *all {
			if s := &(*all)[i]; reflect.DeepEqual(*s, svc) {
				was := *s
				change(s)
				s.Condition, found = c, true
				now = *s
				if w.wrote != nil {
					w.wrote(was, now)
				}
			}
		}
	})
	if !found {
		return cluster.ErrGone
	}
	w.writes = append(w.writes, line(svc.Key(), addrText(now.Ingress), c.Reason))
	if w.after != nil {
		if err := w.after(svc.Key()); err != nil {
			return err
		}
	}
	w.shown = slices.Clone(w.shown) // as a Source does, however much it lags
	for i := range w.shown {
		if s := &w.shown[i]; s.UID == svc.UID {
			*s = now
		}
	}
	return nil
}

func (w *world) count(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active += n
	w.busiest = max(w.busiest, w.active)
}

const statusName = "herald-status"

func (w *world) ReadConfigMap(_ context.Context, name string) (cluster.ConfigMap, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name == statusName {
		n := len(w.reports)
		if n == 0 {
			return cluster.ConfigMap{}, false, w.unread
		}
		return cluster.ConfigMap{Data: map[string]string{StatusKey: w.reports[n-1]}}, true, w.unread
	}
	if w.accepted == nil {
		return cluster.ConfigMap{}, false, nil
	}
	return *w.accepted, true, nil
}

func (w *world) PublishConfigMap(_ context.Context, name string, annotations, data map[string]string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.publish != nil {
		if err := w.publish(); err != nil {
			return err
		}
	}
	if name == statusName {
		w.reports = append(w.reports, data[StatusKey])
		return nil
	}
	w.accepted = &cluster.ConfigMap{Namespace: "herald-system", Name: name, Annotations: annotations, Data: data}
	w.publishes = append(w.publishes, annotations[AnnotationSource])
	return nil
}

func (w *world) Event(about cluster.Ref, kind, reason, note string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, line(kind, reason, about.Namespace+"/"+about.Name, note))
}

// leaderKey is the key, in the context of a write, of the number of its leader.
type leaderKey struct{}

// lead runs an allocator until stop, which waits for its end. It must be called
// in a synctest bubble.
func (w *world) lead(t *testing.T) (a *Allocator, stop func()) {
	t.Helper()
	o := w.options
	o.Source, o.Statuses, o.ConfigMaps, o.Events, o.Metrics = w, w, w, w, w.metrics
	o.Namespace, o.ConfigMap, o.Accepted = "herald-system", "herald", "herald-accepted"
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.leaders++
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), leaderKey{}, w.leaders))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return a, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// status is what the truth is now: "a 192.0.2.1 Allocated", one per Service.
func (w *world) status() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, s := range w.truth {
		out = append(out, line(s.Name, addrText(s.Ingress), s.Condition.Reason))
	}
	return out
}

func (w *world) message(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.truth {
		if s.Name == name {
			return s.Condition.Message
		}
	}
	return ""
}

// eventsWith counts the Events that begin so.
func (w *world) eventsWith(prefix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if strings.HasPrefix(e, prefix) {
			n++
		}
	}
	return n
}

func (w *world) writeCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.writes)
}

func line(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

func addrText(addrs []netip.Addr) string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return strings.Join(out, ",")
}

func want(t *testing.T, w *world, status ...string) {
	t.Helper()
	synctest.Wait()
	if got := w.status(); !slices.Equal(got, status) {
		t.Errorf("got %q, want %q", got, status)
	}
}
