package plan

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/internal/config"
)

const (
	// fuseWindow: losses this close together count as one. The node controller
	// and the watches tell of a mass loss in many small pieces.
	fuseWindow = 10 * time.Second
	// fuseLeast is how many addresses make a mass. With fewer, more than half is
	// soon somebody's deliberate deletion, and the harm of an error is small.
	fuseLeast = 8
)

// FuseState remembers what is held back. The zero value holds nothing.
type FuseState struct {
	held  map[netip.Addr]time.Time // until when
	gone  map[netip.Addr]time.Time // let go without an explanation, and when
	since time.Time
}

// Held is how many addresses are announced only because their withdrawal is held
// back.
func (f FuseState) Held() int { return len(f.held) }

// Since is when that began; the zero time: nothing is held.
func (f FuseState) Since() time.Time { return f.since }

// Fuse holds a mass withdrawal back. applied is the last table that was applied,
// or that was the same. It returns the table to apply, and when to ask again
// without an event, or the zero time.
//
//	explained, or no fuse configured         -> next as it is, and what is held goes
//	another node announces the address       -> it goes: nobody loses anything
//	the Reason is somebody's decision        -> it goes: a drain, a label, a configuration
//	few addresses lost, or few of all        -> they go
//	more than Percent of all in fuseWindow   -> those lost now stay for HoldTime
//
// Only withdrawals after which no node at all would announce an address are held,
// so nothing is drawn here that another node could serve: if the loss is real,
// packets are lost on this node instead of on the router. An address is held once;
// then it goes, whatever the reason was.
func (f FuseState) Fuse(applied, next Table, c config.Fuse, explained bool, now time.Time) (Table, FuseState, time.Time) {
	if explained || c.Percent >= 100 || c.HoldTime <= 0 {
		return next, FuseState{}, time.Time{}
	}
	is := FuseState{held: map[netip.Addr]time.Time{}, gone: map[netip.Addr]time.Time{}}
	settled, total := settled(next), 0
	var lost []netip.Addr
	for a := range announced(applied) {
		total++
		until, held := f.held[a]
		switch {
		case settled[a]:
		case !held:
			lost = append(lost, a)
		case now.Before(until):
			is.held[a] = earliestOf(until, now.Add(c.HoldTime)) // a clock may have been set back
		}
	}
	for a, at := range f.gone {
		if !settled[a] && now.Sub(at).Abs() < fuseWindow {
			is.gone[a] = at
			total++
		}
	}
	mass := len(lost) + len(is.held) + len(is.gone)
	blows := mass >= fuseLeast && mass*100 > c.Percent*total
	for _, a := range lost {
		if blows {
			is.held[a] = now.Add(c.HoldTime)
		} else {
			is.gone[a] = now
		}
	}
	if len(is.held) == 0 {
		return next, is, time.Time{}
	}
	is.since = f.since
	if is.since.IsZero() {
		is.since = now
	}
	return is.hold(applied, next), is, is.next()
}

// announced are the addresses that a table announces for good.
func announced(t Table) map[netip.Addr]bool {
	out := make(map[netip.Addr]bool, len(t.Decisions))
	for _, d := range t.Decisions {
		if d.Announce && !d.Draining || d.Claim {
			out[d.Addr] = true
		}
	}
	return out
}

// settled are the addresses that some node announces, and those that none shall.
func settled(t Table) map[netip.Addr]bool {
	out := make(map[netip.Addr]bool, len(t.Decisions))
	for _, d := range t.Decisions {
		if d.Announce || d.Claim || len(d.Nodes) > 0 || d.Owner != "" || d.Reason.deliberate() {
			out[d.Addr] = true
		}
	}
	return out
}

// deliberate tells whether somebody has decided that this node be silent, or it
// knows by itself that it must be. All else is hearsay from the API server.
func (r Reason) deliberate() bool {
	switch r {
	case AddressNotInPool, NodeExcluded, NodeCordoned, NodeNotSelected, NoPeer, NotAdvertised, Layer2Off, NoUsableLink,
		NotForwarding, NodeDraining, SpeakerLeaving, EndpointsTerminating:
		return true
	default:
		return false
	}
}

func (f FuseState) next() time.Time {
	var first time.Time
	for _, until := range f.held {
		if first.IsZero() || until.Before(first) {
			first = until
		}
	}
	return first
}

func earliestOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
