package plan

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/config"
)

// Holds remembers, per address, what has been announced of its weights. The zero
// value remembers nothing. Damp returns a new one and leaves its argument alone.
type Holds map[netip.Addr]Hold

// Hold is the memory of one address.
type Hold struct {
	Announced []NodeWeight // of all nodes, as last announced
	Wanted    []NodeWeight // of all nodes, as Compute wants them
	Due       time.Time    // when Wanted is announced; zero: it is, or the change is too small
	Quick     bool         // it is damped for seconds, not for minutes
	Slow      string       // why not

	first   time.Time // when any node announced the address first
	changed time.Time // when Announced changed last
	pending time.Time // since when a change has been worth announcing; zero: none is
}

// Damp holds changes of weight alone back, because a router may move every
// established flow on each of them (FRR 8.4: up to all). It returns the table
// with the weights to announce now, and the moment of the next change that it
// holds back, or the zero time.
//
//	a node joins or leaves the announcers   -> all weights now: the router rehashes anyway
//	within SettleTime of the first          -> now: there are few flows to lose yet
//	no share changes by MinChange           -> not at all
//	some node's weight falls                -> DecreaseDelay after it fell, and as below
//	else                                    -> Interval after the last change, on the tick
//
// Where a router may move flows without breaking one (Decision.Quick), the two
// times are seconds.
//
// Every node runs this over the weights of all nodes and comes to the same
// answer on the same wall-clock tick, so that one change of pods is one rehash.
// Weights are announced exactly; they are quantised only to judge a change.
func Damp(prev Holds, t Table, w config.Weights, now time.Time) (Table, Holds, time.Time) {
	next := make(Holds, len(prev))
	var wake time.Time
	for _, d := range t.Decisions {
		if _, done := next[d.Addr]; done || len(d.Nodes) == 0 {
			continue
		}
		damping := w
		if d.Quick {
			damping = quickly(w)
		}
		h := prev[d.Addr].step(d.Nodes, damping, now)
		h.Quick, h.Slow = d.Quick, d.Slow
		next[d.Addr] = h
		if !h.Due.IsZero() && (wake.IsZero() || h.Due.Before(wake)) {
			wake = h.Due
		}
	}
	t.Routes = slices.Clone(t.Routes)
	for i, r := range t.Routes {
		if damped(r) {
			h := next[r.Prefix.Addr()]
			t.Routes[i].Weight = weightAt(h.Announced, t.Self)
			if len(r.NextHops) > 0 && !slices.Equal(h.Announced, h.Wanted) {
				t.Routes[i].NextHops = t.replicate(t.Routes[i], h.Announced)
			}
		}
	}
	return t, next, wake
}

// damped tells whether a route's weight may change: an aggregate has none, and
// what drains is no announcer any more.
func damped(r Route) bool { return r.Prefix.IsSingleIP() && !r.Pods && !r.Draining }

// step is one address's part of Damp.
func (h Hold) step(wanted []NodeWeight, w config.Weights, now time.Time) Hold {
	h.Wanted = wanted
	if h.first.IsZero() {
		h.first = now
	}
	if slices.Equal(h.Announced, wanted) {
		h.pending, h.Due = time.Time{}, time.Time{}
		return h
	}
	free := w.Interval == 0 || now.Before(h.first.Add(w.SettleTime)) || !sameNodes(h.Announced, wanted)
	if free {
		return h.announce(now)
	}
	if !worth(h.Announced, wanted, w.MinChange) {
		h.pending, h.Due = time.Time{}, time.Time{}
		return h
	}
	if h.pending.IsZero() {
		h.pending = now
	}
	// A moment later than any rule can ask for comes from a clock that was set
	// back since.
	latest := now.Add(w.Interval + w.DecreaseDelay + tick(w))
	if h.Due = h.due(w); h.Due.After(now) && !h.Due.After(latest) {
		return h
	}
	return h.announce(now)
}

func (h Hold) announce(now time.Time) Hold {
	h.Announced, h.changed = h.Wanted, now
	h.pending, h.Due = time.Time{}, time.Time{}
	return h
}

// due is the tick on which a pending change is announced.
func (h Hold) due(w config.Weights) time.Time {
	due := h.changed.Add(w.Interval)
	held := h.pending
	if falls(h.Announced, h.Wanted) {
		held = held.Add(w.DecreaseDelay)
	}
	if held.After(due) {
		due = held
	}
	if t := due.Truncate(tick(w)); t.Before(due) {
		return t.Add(tick(w))
	}
	return due
}

// tick is a tenth of the interval: coarse enough that nodes which learn of a
// change within milliseconds of each other choose the same tick, fine enough to
// add little to the wait.
func tick(w config.Weights) time.Duration { return max(w.Interval/10, time.Second) }

func sameNodes(a, b []NodeWeight) bool {
	return slices.EqualFunc(a, b, func(x, y NodeWeight) bool { return x.Node == y.Node })
}

func falls(from, to []NodeWeight) bool {
	for i := range from {
		if to[i].Weight < from[i].Weight {
			return true
		}
	}
	return false
}

// worth tells whether some node's weight moves to another step and its share of
// the whole changes by at least percent. The steps give hysteresis to nodes
// with many pods, the share to clusters with many nodes.
func worth(from, to []NodeWeight, percent int) bool {
	if percent == 0 {
		return true
	}
	sumFrom, sumTo := sum(from), sum(to)
	for i := range from {
		if quantise(from[i].Weight) == quantise(to[i].Weight) {
			continue
		}
		// |to/sumTo - from/sumFrom| / (from/sumFrom), without division.
		was, is := uint64(from[i].Weight)*sumTo, uint64(to[i].Weight)*sumFrom
		if diff := max(was, is) - min(was, is); diff*100 >= was*uint64(percent) {
			return true
		}
	}
	return false
}

func sum(list []NodeWeight) uint64 {
	var n uint64
	for _, x := range list {
		n += uint64(x.Weight)
	}
	return n
}

// quantise rounds down to the steps 1, 2, 3, 4, 6, 8, 12, 16, 24 and so on: each
// is a third or a half more than the one before.
func quantise(w uint32) uint32 {
	if w < 4 {
		return w
	}
	step := uint32(4)
	for step <= w/2 {
		step *= 2
	}
	if w-step >= step/2 {
		return step + step/2
	}
	return step
}
