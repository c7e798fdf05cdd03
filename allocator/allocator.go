// Package allocator is the loop that hands out addresses: what is known of the
// cluster goes into assign.Compute, and where a Service's status differs from
// the answer, the answer is written.
//
// It keeps no record of what it gave to whom: the statuses are the record. A
// restart, or another leader, computes the same answer.
package allocator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// A Source knows the cluster.
type Source interface {
	// Snapshot is false until the caches have synced once. It shows every write
	// of Statuses that has returned nil.
	Snapshot() (cluster.Snapshot, bool)
	// ConfigMap is the user's configuration, and whether there is one.
	ConfigMap() (cluster.ConfigMap, bool)
	// Wake has an element when one of the two may have changed.
	Wake() <-chan struct{}
	// CatchUp waits until Snapshot is as new as the cluster was when CatchUp was
	// called.
	CatchUp(ctx context.Context) error
}

// Statuses writes the statuses of Services. A write is for the Service as it was
// handed over: if it has become another meanwhile, the error is cluster.ErrGone and
// nothing is written, so that nobody acts on what is no longer so. An error tells by
// cluster.ErrGone and cluster.ErrRefused that nothing was written; any other leaves
// it open.
type Statuses interface {
	ApplyStatus(ctx context.Context, svc cluster.Service, ingress []netip.Addr, c cluster.Condition) error
	// ApplyCondition leaves the ingress to its owner.
	ApplyCondition(ctx context.Context, svc cluster.Service, c cluster.Condition) error
	ReleaseStatus(ctx context.Context, svc cluster.Service) error
}

// ConfigMaps reads and writes the accepted configuration.
type ConfigMaps interface {
	ReadConfigMap(ctx context.Context, name string) (cluster.ConfigMap, bool, error)
	PublishConfigMap(ctx context.Context, name string, annotations, data map[string]string) error
}

// Events tells users what has happened to an object. It never blocks.
type Events interface {
	Event(about cluster.Ref, kind, reason, note string)
}

// Options configure an Allocator.
type Options struct {
	Source     Source     // required
	Statuses   Statuses   // required
	ConfigMaps ConfigMaps // required
	Events     Events     // required

	Namespace string // required; of the two ConfigMaps
	ConfigMap string // required; what the user writes
	Accepted  string // required; where the accepted configuration is published
	Status    string // where the leader's report is published; empty: nowhere

	// ServiceClass and Classless are what the configuration calls so; they count more
	// than that. Empty: as it says, or as is the default before there is one.
	ServiceClass, Classless string

	Metrics *Metrics     // nil: none
	Log     *slog.Logger // nil: discard
}

// Allocator hands out addresses while it leads.
type Allocator struct {
	o     Options
	state atomic.Pointer[State]
}

// New checks the options.
func New(o Options) (*Allocator, error) {
	if o.Source == nil || o.Statuses == nil || o.ConfigMaps == nil || o.Events == nil {
		return nil, errors.New("allocator: source, statuses, config maps and events are required")
	}
	if o.Namespace == "" || o.ConfigMap == "" || o.Accepted == "" {
		return nil, errors.New("allocator: namespace and names of the config maps are required")
	}
	if o.ServiceClass != "" && !config.IsClass(o.ServiceClass) {
		return nil, fmt.Errorf("allocator: service class %q: write a class such as %s", o.ServiceClass, cluster.Class)
	}
	if !slices.Contains([]string{"", config.ClasslessServe, config.ClasslessIgnore}, o.Classless) {
		return nil, fmt.Errorf("allocator: classless %q: write %s or %s", o.Classless, config.ClasslessServe, config.ClasslessIgnore)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Allocator{o: o}, nil
}

// Run hands out addresses until ctx ends. Only one Run may be active in the
// cluster: call it while holding the lease. When it returns, nothing is being
// written any more.
func (a *Allocator) Run(ctx context.Context) error {
	reporter := newReporter(a.o, &a.state)
	t := &term{
		Options: a.o,
		judge:   newJudge(a.o),
		writes:  newWrites(a.o),
		publish: func(s *State) { a.state.Store(s); reporter.poke() },
	}
	if a.o.Status != "" {
		var group sync.WaitGroup
		defer group.Wait()
		group.Go(func() { reporter.run(ctx) })
	}
	a.o.Metrics.leader.Set(1)
	defer a.o.Metrics.stopLeading()
	defer a.state.Store(nil)
	return t.run(ctx)
}

// A term is one leadership. All that it knows ends with it.
type term struct {
	Options
	judge   *judge
	writes  *writes
	left    quarantine
	publish func(*State)
	took    time.Duration // by the last comparison
	state   *State        // as published last; nobody changes it
}

func (t *term) run(ctx context.Context) error {
	defer t.writes.wait()
	if !t.begin(ctx) {
		return nil
	}
	for t.await(ctx, t.step(ctx)) {
	}
	return nil
}

// begin learns what the predecessor has done: its last writes, and the
// configuration that was in force.
func (t *term) begin(ctx context.Context) bool {
	for _, learn := range []func(context.Context) error{t.synced, t.Source.CatchUp, t.judge.restore, t.recall} {
		if !t.insist(ctx, learn) {
			return false
		}
	}
	return true
}

// insist calls f until it succeeds, and returns false when ctx ends.
func (t *term) insist(ctx context.Context, f func(context.Context) error) bool {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := f(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			t.Log.Warn("leader cannot begin yet", "err", err)
		}
		sleep(ctx, backoff(attempt, time.Second))
	}
	return false
}

func (t *term) synced(ctx context.Context) error {
	for {
		if _, ok := t.Source.Snapshot(); ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.Source.Wake():
		}
	}
}

// step compares the world with what it should be, and starts the writes that
// are missing. It returns when to step again at the latest.
func (t *term) step(ctx context.Context) (retry time.Time) {
	snap, ok := t.Source.Snapshot()
	if !ok {
		return retry
	}
	begin := time.Now()
	services := t.writes.overlay(snap.Services)
	retry = t.judge.look(ctx, t.judge.scope().Own(services), t.judge.scope().Own(snap.Services), snap.Nodes)
	result := assign.Compute(t.judge.config, t.judge.scope().Own(services), snap.Nodes,
		t.left.look(t.judge.config, begin, services, snap.Services))
	t.writes.want(snap.Services, t.writes.explain(t.judge.explain(result.Assignments)))
	t.took = time.Since(begin)
	t.report(result)
	return earliest(retry, t.writes.start(ctx))
}

// await waits for a reason to step again; false: ctx has ended.
//
// Bursts are taken in gulps: for as long as it took to compute, further changes
// gather. A lone change waits for nothing.
func (t *term) await(ctx context.Context, retry time.Time) bool {
	if retry.IsZero() {
		retry = time.Now().Add(time.Hour)
	}
	due, quiet := time.NewTimer(time.Until(retry)), time.NewTimer(t.took)
	defer due.Stop()
	defer quiet.Stop()
	var wake <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-quiet.C:
			wake = t.Source.Wake()
		case <-wake:
			return true
		case <-due.C:
			return true
		case done := <-t.writes.results:
			again := t.writes.settle(done)
			t.settled()
			if again {
				return true
			}
			if next := t.writes.start(ctx); !next.IsZero() && next.Before(retry) {
				retry = next
				due.Reset(time.Until(retry))
			}
		}
	}
}

// earliest is the earlier of two times, where zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// backoff grows from 100 ms to the most that is allowed.
func backoff(attempt int, most time.Duration) time.Duration {
	return min(100*time.Millisecond<<min(attempt, 20), most)
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
