package allocator

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
)

const (
	workers = 16 // writes at a time

	// Of those, so many at most are for writes that have failed before. The others
	// are free for Services that have had no turn yet.
	repeaters = workers / 2

	// The most that a Service waits before its write is tried again. A server that
	// is away may be back at any moment; one that answers others, or says no, will
	// do so again.
	retryAway    = time.Second
	retryRefused = 30 * time.Second

	// longestMessage is a net below all that makes messages: each cuts what it
	// quotes.
	longestMessage = 4096
)

// writes are the statuses that differ from what they should be. The loop owns
// them; the goroutines that write know only their own.
//
// A write is for the Service as it was when the write was decided on; the server
// refuses it for any other (see Statuses). So a write that was begun and has no
// answer yet, or whose answer was lost, may have taken place as long as the
// Snapshot shows the Service as it was before; overlay shows its address to
// assign.Compute as taken. When the Snapshot shows something else, the write has
// taken place and is in there, or never will.
type writes struct {
	Options
	byUID   map[string]*write
	fresh   []*write // never tried, oldest first
	later   []*write // to be tried at their time, in this order
	running int
	retried int  // of those running, how many had failed before
	waiting bool // some are in neither, but wait for another's end
	okAt    time.Time
	results chan done
	group   sync.WaitGroup
	quarrels
}

type write struct {
	before cluster.Service // as it was shown when the write was decided on
	want   assign.Assignment
	since  time.Time // when it was first wanted

	begun    bool              // sent may have been written
	unknown  bool              // an answer was lost
	sent     assign.Assignment // valid when begun
	active   bool              // a goroutine is at it
	repeats  bool              // and it had failed before
	attempts int
	failedAt time.Time // first
	notUntil time.Time
}

type done struct {
	w    *write
	took time.Duration
	err  error
}

func newWrites(o Options) *writes {
	return &writes{
		Options: o, byUID: make(map[string]*write), results: make(chan done, workers), quarrels: newQuarrels(),
	}
}

// overlay is what the Services look like if all writes that were begun succeed,
// and if nobody had undone what was written.
func (ws *writes) overlay(services []cluster.Service) []cluster.Service {
	copied := false
	for i := range services {
		now := services[i]
		if w := ws.byUID[now.UID]; w != nil && w.begun && reflect.DeepEqual(now, w.before) {
			now.Condition = condition(w.sent)
			if !w.sent.Untouched && !leaves(w.sent) {
				now.Ingress, now.Adorned, now.StatusOf = w.sent.Addrs, false, ""
			}
		} else if given := ws.undone(&now); given != nil {
			now.Ingress = slices.Concat(now.Ingress, given)
		} else {
			continue
		}
		if !copied {
			services, copied = slices.Clone(services), true
		}
		services[i] = now
	}
	return services
}

// leaves tells whether nothing of Herald's may stay in the status.
func leaves(a assign.Assignment) bool {
	return a.Reason == assign.Released || a.Reason == assign.ServedByAnother
}

func condition(a assign.Assignment) cluster.Condition {
	if leaves(a) {
		return cluster.Condition{}
	}
	return cluster.Condition{Allocated: a.Allocated, Reason: string(a.Reason), Message: cluster.Cut(a.Message, longestMessage)}
}

// want takes in what every status should be. shown is the Snapshot; both are in
// the order of their keys, as all is.
func (ws *writes) want(shown []cluster.Service, all []assign.Assignment) {
	now := time.Now()
	still := make(map[string]*write, len(ws.byUID))
	ws.fresh, ws.later = ws.fresh[:0], ws.later[:0]
	i := 0
	for _, a := range all {
		for i < len(shown) && shown[i].UID != a.UID {
			i++
		}
		if i == len(shown) {
			break // cannot be: every assignment is of a Service of the Snapshot
		}
		if w := ws.wanted(now, &shown[i], a); w != nil {
			still[a.UID] = w
		}
	}
	ws.byUID = still
	wait := deferred(still)
	ws.waiting = len(wait) > 0
	for _, a := range all { // in the order of their Services
		if w := still[a.UID]; w != nil && !wait[w] {
			ws.enqueue(w, now)
		}
	}
	slices.SortStableFunc(ws.fresh, func(x, y *write) int { return x.since.Compare(y.since) })
	slices.SortStableFunc(ws.later, byTime)
	ws.forget(now, shown)
}

func byTime(x, y *write) int { return x.notUntil.Compare(y.notUntil) }

// wanted is the write that a Service needs, or nil.
func (ws *writes) wanted(now time.Time, shown *cluster.Service, a assign.Assignment) *write {
	w := ws.byUID[a.UID]
	if w != nil && w.begun && !w.active && !reflect.DeepEqual(*shown, w.before) {
		if !differs(shown, w.sent) {
			ws.say(w) // it has taken place, although nobody has said so
			ws.wrote(w)
		}
		w.begun, w.unknown = false, false
	}
	switch {
	case w != nil && w.begun:
	case !differs(shown, a):
		return nil
	case w == nil:
		w = &write{since: now, notUntil: ws.truce(a.UID)}
	}
	if w.want = a; !w.begun {
		w.before = *shown
	}
	return w
}

// enqueue puts a write that nobody is at to those that were never tried, or to
// those whose time is still to come.
func (ws *writes) enqueue(w *write, now time.Time) {
	switch {
	case w.active:
	case w.attempts == 0 && !w.notUntil.After(now):
		ws.fresh = append(ws.fresh, w)
	default:
		ws.later = append(ws.later, w)
	}
}

// differs tells whether a status has to be written.
func differs(s *cluster.Service, a assign.Assignment) bool {
	switch {
	case s.Condition != condition(a):
		return true
	case a.Reason == assign.Released || a.Untouched: // the latter: also those served by another
		return false
	default:
		return s.Adorned || s.StatusOf != "" || !slices.Equal(s.Ingress, a.Addrs)
	}
}

// start begins as many writes as may run, and returns when the next one whose time
// is still to come is due.
func (ws *writes) start(ctx context.Context) (next time.Time) {
	if ctx.Err() != nil {
		return next
	}
	for len(ws.fresh) > 0 && ws.running < workers {
		ws.begin(ctx, ws.fresh[0], false)
		ws.fresh = ws.fresh[1:]
	}
	for now := time.Now(); len(ws.later) > 0 && ws.running < workers && ws.retried < repeaters; ws.later = ws.later[1:] {
		if w := ws.later[0]; w.notUntil.After(now) {
			return w.notUntil
		}
		ws.begin(ctx, ws.later[0], true)
	}
	return next
}

func (ws *writes) begin(ctx context.Context, w *write, repeats bool) {
	w.begun, w.active, w.sent, w.repeats = true, true, w.want, repeats
	ws.running++
	if repeats {
		ws.retried++
	}
	ws.note(w)
	svc, a := w.before, w.want
	ws.group.Go(func() {
		began := time.Now()
		var err error
		switch {
		case leaves(a):
			err = ws.Statuses.ReleaseStatus(ctx, svc)
		case a.Untouched:
			err = ws.Statuses.ApplyCondition(ctx, svc, condition(a))
		default:
			err = ws.Statuses.ApplyStatus(ctx, svc, a.Addrs, condition(a))
		}
		ws.results <- done{w, time.Since(began), err} // has room for every worker
	})
}

// settle takes in how a write has ended, and tells whether another status is
// wanted by now than the one that was written.
func (ws *writes) settle(d done) (again bool) {
	w := d.w
	ws.running--
	w.active = false
	if w.repeats {
		ws.retried--
	}
	ws.Metrics.wrote(d, time.Since(w.since))
	if d.err == nil {
		ws.okAt = time.Now()
		ws.say(w)
		ws.wrote(w)
		if ws.byUID[w.before.UID] == w {
			delete(ws.byUID, w.before.UID)
		}
		// The steps while it was written have seen what has changed since, and no
		// further change need ever come.
		return ws.waiting || !equal(w.want, w.sent)
	}
	ws.failed(w, d.err)
	if ws.byUID[w.before.UID] == w {
		i, _ := slices.BinarySearchFunc(ws.later, w, byTime)
		ws.later = slices.Insert(ws.later, i, w)
	}
	return false
}

// failed says when a write may be tried again.
func (ws *writes) failed(w *write, err error) {
	now := time.Now()
	if w.attempts == 0 {
		w.failedAt = now
	}
	most := retryAway
	switch {
	case errors.Is(err, cluster.ErrGone):
		// The watch will tell what has become of it.
		w.begun = w.unknown
	case errors.Is(err, cluster.ErrRefused):
		w.begun = w.unknown
		most = retryRefused
	default:
		w.unknown = true
		if ws.okAt.After(w.failedAt) {
			most = retryRefused // the server is there, but not for this one
		}
	}
	w.notUntil = now.Add(backoff(w.attempts, most))
	if w.attempts == 0 && !errors.Is(err, cluster.ErrGone) {
		ws.Log.Warn("status not written; will try again", "service", w.want.Service, "err", err)
	}
	w.attempts++
}

// equal tells whether two assignments make the same status.
func equal(x, y assign.Assignment) bool {
	return x.Reason == y.Reason && x.Untouched == y.Untouched && condition(x) == condition(y) && slices.Equal(x.Addrs, y.Addrs)
}

// say tells the users of a Service that it has another address, or stands
// otherwise.
func (ws *writes) say(w *write) {
	was, is := w.before, w.sent
	moved := !is.Untouched && !slices.Equal(was.Ingress, is.Addrs)
	if !moved && was.Condition.Reason == string(is.Reason) {
		return
	}
	kind := warning
	if slices.Contains([]assign.Reason{assign.Allocated, assign.PartlyAllocated, assign.Released, assign.ServedByAnother}, is.Reason) {
		kind = normal
	}
	ws.Events.Event(was.Ref(), kind, string(is.Reason), is.Message)
	ws.Log.Info("service judged", "service", is.Service, "reason", is.Reason, "addresses", is.Addrs,
		"before", was.Ingress)
}

// wait returns when nothing is being written any more.
func (ws *writes) wait() { ws.group.Wait() }
