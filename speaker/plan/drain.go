package plan

import (
	"net/netip"
	"slices"
	"time"
)

// DrainState remembers what is announced, by prefix, and since when it drains. The
// zero value remembers nothing. Drain returns a new one and leaves its argument
// alone.
type DrainState map[netip.Prefix]Drained

// Drained is the memory of one prefix: since when it drains; the zero time: it
// does not.
type Drained struct{ Since time.Time }

// Drain removes from t what Compute marks Draining and what must not be announced
// any more. It returns when to ask again without an event, or the zero time.
//
//	was announced undrained before   -> announced for drainTime since it began to drain
//	was never, or its time is over   -> not announced
//	endpoints dead meanwhile         -> Compute no longer says Draining: gone at once
//
// So nothing is announced anew in order to drain, and a dead endpoint is never
// waited for.
func (d DrainState) Drain(t Table, drainTime time.Duration, now time.Time) (Table, DrainState, time.Time) {
	x := draining{was: d, is: make(DrainState, len(d)), drainTime: drainTime, now: now}
	t.Decisions = slices.Clone(t.Decisions)
	for i, e := range t.Decisions {
		if e.Announce && !x.stays(host(e.Addr), e.Draining) {
			t.Decisions[i].Announce, t.Decisions[i].Draining = false, false
			if !e.Claim {
				t.Decisions[i].Weight = 0
			}
		}
	}
	t.Routes = slices.DeleteFunc(slices.Clone(t.Routes), func(r Route) bool { return !x.stays(r.Prefix, r.Draining) })
	return t, x.is, x.next
}

// draining is one run of Drain.
type draining struct {
	was, is   DrainState
	drainTime time.Duration
	now, next time.Time
}

// stays tells whether a prefix may be announced. Aggregates drain on their own
// account: they begin when the last address in them does.
func (x *draining) stays(p netip.Prefix, drains bool) bool {
	if !drains {
		x.is[p] = Drained{}
		return true
	}
	mem, announced := x.was[p]
	if !announced {
		return false
	}
	if mem.Since.IsZero() || mem.Since.After(x.now) {
		mem.Since = x.now
	}
	end := mem.Since.Add(x.drainTime)
	if !x.now.Before(end) {
		return false
	}
	x.is[p] = mem
	if x.next.IsZero() || end.Before(x.next) {
		x.next = end
	}
	return true
}
