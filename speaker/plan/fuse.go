// The fuse holds a mass withdrawal back that nobody has told of. Read Fuse first,
// then loss.told in fusetold.go: what counts as told.
package plan

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

const (
	// fuseWindow: losses this close together count as one. The node controller
	// and the watches tell of a mass loss in many small pieces.
	fuseWindow = 10 * time.Second
	// fuseLeast is how many addresses make a mass. With fewer, more than half is
	// soon the fault of one application, and the harm of an error is small.
	fuseLeast = 8
)

// FuseState remembers what is held back. The zero value holds nothing.
type FuseState struct {
	held  map[netip.Addr]loss
	gone  map[netip.Addr]time.Time // let go although nobody told of it, and when
	since time.Time
	seen  []cluster.Service // of the last snapshot
}

// loss is the memory of an address that is held.
type loss struct {
	services    []cluster.Service // that had the address, as they were when it was announced
	lost, until time.Time
}

// Held is how many addresses are announced only because their withdrawal is held
// back.
func (f FuseState) Held() int { return len(f.held) }

// Since is when that began; the zero time: nothing is held.
func (f FuseState) Since() time.Time { return f.since }

// Fuse holds a mass withdrawal back. applied is the last table that was applied,
// or that was the same; snapshot is what next was made of. It returns the table
// to apply, and when to ask again without an event, or the zero time.
//
//	explained, or no fuse configured         -> next as it is, and what is held goes
//	another node announces the address       -> it goes: nobody loses anything
//	the Reason is somebody's decision        -> it goes: a drain, a label, a configuration
//	a watch told of it, object by object     -> it goes: a Service that was deleted or
//	                                            changed, a pod that ended
//	few addresses lost, or few of all        -> they go
//	more than Percent of all in fuseWindow   -> those lost now stay for HoldTime
//
// What is left is what nobody told of: objects that a new list does not have any
// more, and readiness that many pods or nodes have lost at once. What goes for a
// reason of its own never counts as a part of a mass, and is never held by one.
//
// Only withdrawals after which no node at all would announce an address are held,
// so nothing is drawn here that another node could serve: if the loss is real,
// packets are lost on this node instead of on the router. An address is held once,
// and only until somebody tells why it was lost; then it goes.
func (f FuseState) Fuse(applied, next Table, snapshot cluster.Snapshot, c config.Fuse, explained bool, now time.Time) (Table, FuseState, time.Time) {
	is := FuseState{held: map[netip.Addr]loss{}, gone: map[netip.Addr]time.Time{}, seen: snapshot.Services}
	if explained || c.Percent >= 100 || c.HoldTime <= 0 {
		return next, FuseState{seen: snapshot.Services}, time.Time{}
	}
	settled, total, mass := settled(next), 0, 0
	var lost []loss
	var addrs []netip.Addr
	before := f.servicesOf(announced(applied), settled)
	for a := range announced(applied) {
		total++
		l, held := f.held[a]
		switch {
		case settled[a]:
		case !held:
			if l = (loss{services: before[a], lost: now}); !l.told(a, snapshot) {
				lost, addrs = append(lost, l), append(addrs, a)
			}
		case now.Before(l.until) && !l.told(a, snapshot):
			l.until = earliestOf(l.until, now.Add(c.HoldTime)) // a clock may have been set back
			is.held[a] = l
			if now.Sub(l.lost).Abs() < fuseWindow {
				mass++
			}
		}
	}
	for a, at := range f.gone {
		if !settled[a] && now.Sub(at).Abs() < fuseWindow {
			is.gone[a] = at
			total++
		}
	}
	mass += len(lost) + len(is.gone)
	blows := mass >= fuseLeast && mass*100 > c.Percent*total
	for i, l := range lost {
		if blows {
			l.until = now.Add(c.HoldTime)
			is.held[addrs[i]] = l
		} else {
			is.gone[addrs[i]] = now
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
		NotForwarding, RulesOutdated, NodeDraining, SpeakerLeaving, EndpointsTerminating:
		return true
	default:
		return false
	}
}

func (f FuseState) next() time.Time {
	var first time.Time
	for _, l := range f.held {
		if first.IsZero() || l.until.Before(first) {
			first = l.until
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
