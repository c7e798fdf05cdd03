package allocator

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
)

const (
	quarrelSaid  = 3                // repairs after which users are told
	quarrelPause = 5 * time.Minute  // the longest wait before the next repair
	quarrelOver  = 15 * time.Minute // without a repair
)

// quarrels are with others who write the statuses that Herald writes. Each repair
// waits longer than the one before, so that two controllers do not write as fast
// as they can for ever.
type quarrels struct {
	given map[string][]netip.Addr // by UID: the ingress that this leader wrote last
	with  map[string]*quarrel     // by UID
}

type quarrel struct {
	repairs int
	last    time.Time
	next    time.Time // no repair before
	who     string    // a field manager; empty: nobody knows
}

func newQuarrels() quarrels {
	return quarrels{given: map[string][]netip.Addr{}, with: map[string]*quarrel{}}
}

// undone is what this leader had given to a Service, if somebody has replaced or
// removed it since. The Service still has a right to it.
func (q *quarrels) undone(s *cluster.Service) []netip.Addr {
	if !s.Condition.Allocated || s.StatusOf == "" && len(s.Ingress) > 0 {
		return nil
	}
	return q.given[s.UID]
}

// wrote remembers what a Service was given.
func (q *quarrels) wrote(w *write) {
	if len(w.sent.Addrs) == 0 {
		delete(q.given, w.sent.UID)
		return
	}
	q.given[w.sent.UID] = w.sent.Addrs
}

// note counts a write that is about to begin, if it is a repair.
func (q *quarrels) note(w *write) {
	given, ok := q.given[w.want.UID]
	if !ok || w.attempts > 0 || w.want.Untouched || leaves(w.want) {
		return
	}
	s := &w.before
	undone := s.StatusOf != "" || s.Adorned || len(s.Ingress) == 0 || s.Condition.Reason == ""
	if !undone && (slices.Equal(given, s.Ingress) || !slices.Equal(given, w.want.Addrs)) {
		return
	}
	z := q.with[s.UID]
	if z == nil {
		z = &quarrel{}
		q.with[s.UID] = z
	}
	if s.StatusOf != "" {
		z.who = s.StatusOf
	}
	z.repairs++
	z.last = time.Now()
	z.next = z.last.Add(min(time.Second<<min(2*(z.repairs-1), 20), quarrelPause))
}

// truce is until when a Service's status is left as it is.
func (q *quarrels) truce(uid string) time.Time {
	if z := q.with[uid]; z != nil {
		return z.next
	}
	return time.Time{}
}

// forget drops what is over, and what is about Services that are gone.
func (q *quarrels) forget(now time.Time, shown []cluster.Service) {
	for uid, z := range q.with {
		if now.Sub(z.last) > quarrelOver {
			delete(q.with, uid)
		}
	}
	if len(q.given) <= len(shown) {
		return
	}
	there := make(map[string]bool, len(shown))
	for i := range shown {
		there[shown[i].UID] = true
	}
	for uid := range q.given {
		if !there[uid] {
			delete(q.given, uid)
		}
	}
}

// explain tells the users of Services that somebody else writes their statuses.
func (q *quarrels) explain(all []assign.Assignment) []assign.Assignment {
	if len(q.with) == 0 {
		return all
	}
	for i := range all {
		a := &all[i]
		z := q.with[a.UID]
		if z == nil || z.repairs < quarrelSaid || !a.Allocated || leaves(*a) {
			continue
		}
		who := z.who
		if who = cluster.Word(who); z.who == "" {
			who = "somebody who leaves no name"
		}
		a.Reason = assign.StatusContested
		a.Message += "; its status is written by " + who + " as well, and Herald puts it right ever more rarely; " + a.Reason.Remedy()
	}
	return all
}
