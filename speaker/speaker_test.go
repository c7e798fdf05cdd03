package speaker

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/plan"
)

const conf = `
apiVersion: heraldlb.io/v1
pools: [{name: public, ranges: [198.51.100.0/24]}]
peers: [{name: tor-a, address: 10.0.0.1, asn: 64512}]
bgp: {asn: 64513}
`

// world is the source: what the test says of the cluster.
type world struct {
	mu     sync.Mutex
	snap   cluster.Snapshot
	synced bool
	conf   string
	away   time.Time
	wake   chan struct{}
}

func (w *world) LastAway() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}

func (w *world) Snapshot() (cluster.Snapshot, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snap, w.synced
}

func (w *world) Config() (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conf, w.conf != ""
}

func (w *world) Wake() <-chan struct{} { return w.wake }

func (w *world) set(change func()) {
	w.mu.Lock()
	change()
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// pods is a Local Service with so many pods on n1 and one on n2.
func pods(n int) cluster.Snapshot {
	s := cluster.Service{
		Namespace: "default", Name: "web", LoadBalancer: true, LocalOnly: true,
		Ingress: []netip.Addr{netip.MustParseAddr("198.51.100.10")},
	}
	for i := range n {
		s.Endpoints = append(s.Endpoints, cluster.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 244, 1, byte(i + 2)}), Node: "n1", Ready: true})
	}
	s.Endpoints = append(s.Endpoints, cluster.Endpoint{Addr: netip.MustParseAddr("10.244.2.2"), Node: "n2", Ready: true})
	return cluster.Snapshot{
		Services: []cluster.Service{s},
		Nodes:    []cluster.Node{{Name: "n1", Ready: true}, {Name: "n2", Ready: true}},
	}
}

// recorder is an announcer that remembers the weight of the one route in each
// table, or 0.
type recorder struct {
	mu   sync.Mutex
	got  []uint32
	at   []time.Time
	fail int // so many calls
}

func (r *recorder) Apply(_ context.Context, t plan.Table) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 {
		r.fail--
		return errors.New("the library says no")
	}
	w := uint32(0)
	if len(t.Routes) > 0 {
		w = t.Routes[0].Weight
	}
	r.got, r.at = append(r.got, w), append(r.at, time.Now())
	return nil
}

func (r *recorder) want(t *testing.T, weights ...uint32) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) != len(weights) {
		t.Fatalf("applied weights %v, want %v", r.got, weights)
	}
	for i := range weights {
		if r.got[i] != weights[i] {
			t.Fatalf("applied weights %v, want %v", r.got, weights)
		}
	}
}

// run starts a speaker on n1 in a bubble with its own clock, and ends it.
func run(t *testing.T, body func(t *testing.T, s *Speaker, w *world, r *recorder)) {
	bubble.Test(t, func(t *testing.T) {
		w, r := &world{wake: make(chan struct{}, 1)}, &recorder{}
		s, err := New(Options{Node: "n1", Source: w, Announcers: []Announcer{r}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		body(t, s, w, r)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestNothingBeforeTheCachesAreSynced(t *testing.T) {
	run(t, func(t *testing.T, _ *Speaker, w *world, r *recorder) {
		w.set(func() { w.conf = conf })
		time.Sleep(time.Minute)
		r.want(t)
		w.set(func() { w.snap, w.synced = pods(1), true })
		r.want(t, 1)
	})
}

func TestNothingWithoutConfiguration(t *testing.T) {
	run(t, func(t *testing.T, _ *Speaker, w *world, r *recorder) {
		w.set(func() { w.snap, w.synced = pods(1), true })
		time.Sleep(time.Minute)
		r.want(t)
	})
}

func TestTheFirstEventDoesNotWait(t *testing.T) {
	run(t, func(t *testing.T, _ *Speaker, w *world, r *recorder) {
		time.Sleep(time.Minute)
		begun := time.Now()
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(1), true })
		r.want(t, 1)
		if waited := r.at[0].Sub(begun); waited != 0 {
			t.Errorf("applied after %v, want at once", waited)
		}
	})
}

func TestABurstIsCoalesced(t *testing.T) {
	run(t, func(t *testing.T, _ *Speaker, w *world, r *recorder) {
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(1), true })
		r.want(t, 1)
		for i := range 10 {
			w.set(func() { w.snap = pods(i + 1) })
			time.Sleep(time.Millisecond)
		}
		time.Sleep(pauseFloor)
		r.want(t, 1, 10)
	})
}

func TestAnUnchangedTableIsNotAppliedAgain(t *testing.T) {
	run(t, func(t *testing.T, _ *Speaker, w *world, r *recorder) {
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(1), true })
		time.Sleep(time.Second)
		w.set(func() { w.snap = pods(1) })
		time.Sleep(time.Second)
		r.want(t, 1)
	})
}

func TestAnUnreadableConfigurationLeavesTheLastInForce(t *testing.T) {
	run(t, func(t *testing.T, s *Speaker, w *world, r *recorder) {
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(1), true })
		time.Sleep(time.Second)
		w.set(func() { w.conf = "apiVersion: heraldlb.io/v9\n" })
		time.Sleep(time.Second)
		w.set(func() { w.snap = pods(2) })
		r.want(t, 1, 2)
		if got := s.State().ConfigError; !strings.Contains(got, "heraldlb.io/v9") {
			t.Errorf("ConfigError %q does not name what it could not read", got)
		}
		w.set(func() { w.conf = "" }) // the ConfigMap is gone
		time.Sleep(time.Second)
		r.want(t, 1, 2)
	})
}

func TestAFailedApplyIsRetriedWithoutAnEvent(t *testing.T) {
	run(t, func(t *testing.T, s *Speaker, w *world, r *recorder) {
		r.fail = 3
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(1), true })
		synctest.Wait()
		if s.State().Error == "" {
			t.Error("the failure is not in the state")
		}
		time.Sleep(5 * time.Second)
		r.want(t, 1)
		if s.State().Error != "" {
			t.Errorf("error %q stayed in the state", s.State().Error)
		}
	})
}

func TestAHeldWeightIsAnnouncedWhenDue(t *testing.T) {
	run(t, func(t *testing.T, s *Speaker, w *world, r *recorder) {
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(1), true })
		time.Sleep(time.Hour + 7*time.Second) // between two ticks
		w.set(func() { w.snap = pods(2) })
		r.want(t, 1)
		due := s.State().Holds[netip.MustParseAddr("198.51.100.10")].Due
		if due.IsZero() {
			t.Fatal("the state does not say when the held weight is due")
		}
		time.Sleep(time.Until(due) + time.Millisecond)
		r.want(t, 1, 2)
	})
}

func TestTheLastEndpointIsWithdrawnAtOnce(t *testing.T) {
	run(t, func(t *testing.T, _ *Speaker, w *world, r *recorder) {
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(2), true })
		time.Sleep(time.Hour)
		w.set(func() { w.snap = pods(0) })
		r.want(t, 2, 0)
	})
}

// unready is pods(n) after the node controller has marked those of n1 not ready.
func unready(n int) cluster.Snapshot {
	s := pods(n)
	for i, e := range s.Services[0].Endpoints {
		s.Services[0].Endpoints[i].Ready = e.Node != "n1"
	}
	return s
}

func TestAfterAnOutageADeadNodeIsNotBelievedAtOnce(t *testing.T) {
	run(t, func(t *testing.T, s *Speaker, w *world, r *recorder) {
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(2), true })
		time.Sleep(time.Hour)
		w.set(func() { w.away = time.Now() })
		time.Sleep(10 * time.Second)
		w.set(func() { w.snap = unready(2) })
		time.Sleep(10 * time.Second)
		r.want(t, 2)
		if s.State().Doubted != 2 {
			t.Errorf("the state says %d are doubted, want 2", s.State().Doubted)
		}
		w.set(func() { w.snap = pods(2) }) // the kubelet has protested
		time.Sleep(time.Minute)
		r.want(t, 2)
		w.set(func() { w.snap = unready(2) }) // long after the outage
		r.want(t, 2, 0)
	})
}

func TestOptions(t *testing.T) {
	if _, err := New(Options{Source: &world{}}); err == nil {
		t.Error("no Node: want an error")
	}
	if _, err := New(Options{Node: "n1"}); err == nil {
		t.Error("no Source: want an error")
	}
}
