package allocator

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
)

const (
	workers = 16 // writes at a time

	// The most that a Service waits before its write is tried again. A server
	// that is away may be back at any moment; one that says no will say it again.
	retryUnknown = time.Second
	retryRefused = 30 * time.Second
)

// writes are the statuses that differ from what they should be. The loop owns
// them; the goroutines that write know only their own.
//
// A write that was begun and has no answer yet, or whose answer was lost, may
// have taken place. Until that is known its address must not go to anybody else,
// although no Snapshot shows it: overlay shows it to assign.Compute as if it had
// succeeded, and it is repeated until the server says yes or no. A write that
// the server has confirmed is the Source's to show.
type writes struct {
	Options
	byUID   map[string]*write
	queue   []*write // wanted and not begun, in the order of their Services
	running int
	results chan done
	group   sync.WaitGroup
}

type write struct {
	before cluster.Service // as it was shown when the write was begun
	want   assign.Assignment
	since  time.Time // when it was first wanted

	begun    bool              // sent may have been written
	sent     assign.Assignment // valid when begun
	active   bool              // a goroutine is at it
	attempts int
	notUntil time.Time // after a failure
}

type done struct {
	w    *write
	took time.Duration
	err  error
}

func newWrites(o Options) *writes {
	return &writes{Options: o, byUID: make(map[string]*write), results: make(chan done, workers)}
}

// overlay is what the Services look like if all writes that were begun succeed.
func (ws *writes) overlay(services []cluster.Service) []cluster.Service {
	copied := false
	for i := range services {
		w := ws.byUID[services[i].UID]
		if w == nil || !w.begun {
			continue
		}
		if !copied {
			services, copied = slices.Clone(services), true
		}
		if services[i].Condition = condition(w.sent); !w.sent.Untouched && w.sent.Reason != assign.Released {
			services[i].Ingress, services[i].Adorned, services[i].StatusOf = w.sent.Addrs, false, ""
		}
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
	return cluster.Condition{Allocated: a.Allocated, Reason: string(a.Reason), Message: a.Message}
}

// want takes in what every status should be. shown is the Snapshot, overlaid is
// what overlay made of it; both are in the order of their keys, as all is.
func (ws *writes) want(shown, overlaid []cluster.Service, all []assign.Assignment) {
	still := make(map[string]*write, len(ws.byUID))
	ws.queue = ws.queue[:0]
	i := 0
	for _, a := range all {
		for i < len(shown) && shown[i].UID != a.UID {
			i++
		}
		if i == len(shown) {
			break // cannot be: every assignment is of a Service of the Snapshot
		}
		w := ws.byUID[a.UID]
		if (w == nil || !w.begun) && !differs(overlaid[i], a) {
			continue
		}
		if w == nil {
			w = &write{since: time.Now()}
		}
		if w.want = a; !w.begun {
			w.before = shown[i]
		}
		still[a.UID] = w
		if !w.active {
			ws.queue = append(ws.queue, w)
		}
	}
	ws.byUID = still
}

// differs tells whether a status has to be written.
func differs(s cluster.Service, a assign.Assignment) bool {
	switch {
	case s.Condition != condition(a):
		return true
	case a.Reason == assign.Released || a.Untouched: // the latter: also those served by another
		return false
	default:
		return s.Adorned || s.StatusOf != "" || !slices.Equal(s.Ingress, a.Addrs)
	}
}

// start begins as many writes as may run, and returns when the next one that
// failed is due.
func (ws *writes) start(ctx context.Context) (next time.Time) {
	now := time.Now()
	rest := ws.queue[:0]
	for _, w := range ws.queue {
		switch {
		case w.notUntil.After(now):
			next = earliest(next, w.notUntil)
			rest = append(rest, w)
		case ws.running == workers || ctx.Err() != nil:
			rest = append(rest, w)
		default:
			ws.begin(ctx, w)
		}
	}
	ws.queue = rest
	return next
}

func (ws *writes) begin(ctx context.Context, w *write) {
	w.begun, w.active, w.sent = true, true, w.want
	ws.running++
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
	ws.Metrics.wrote(d, time.Since(w.since))
	switch {
	case d.err == nil:
		ws.say(w)
		fallthrough
	case errors.Is(d.err, cluster.ErrGone):
		if ws.byUID[w.before.UID] == w {
			delete(ws.byUID, w.before.UID)
		}
		// The steps while it was written have seen what has changed since, and no
		// further change need ever come.
		return !equal(w.want, w.sent)
	case errors.Is(d.err, cluster.ErrRefused):
		w.begun = false
		w.notUntil = time.Now().Add(backoff(w.attempts, retryRefused))
	default:
		w.notUntil = time.Now().Add(backoff(w.attempts, retryUnknown))
	}
	if w.attempts == 0 {
		ws.Log.Warn("status not written; will try again", "service", w.want.Service, "err", d.err)
	}
	w.attempts++
	if ws.byUID[w.before.UID] == w {
		ws.queue = append(ws.queue, w)
	}
	return false
}

// equal tells whether two assignments make the same status.
func equal(x, y assign.Assignment) bool {
	return x.Reason == y.Reason && x.Untouched == y.Untouched && condition(x) == condition(y) && slices.Equal(x.Addrs, y.Addrs)
}

// say tells the users of a Service that it has another address, or stands
// otherwise.
func (ws *writes) say(w *write) {
	was, is := w.before, w.sent
	moved := !slices.Equal(was.Ingress, is.Addrs)
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
