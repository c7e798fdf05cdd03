package assign

import (
	"net/netip"
	"slices"
)

// move is a slot that waits for an address which another holds.
type move struct {
	claim   *claim
	slot    *slot
	dropped bool
}

// swap lets Services go that stand in each other's way only, such as two whose
// users exchange their addresses, and tells whether any went. Nobody else is
// affected: each address of such a circle goes to the one who asks for it.
func (a *allocation) swap(queue []*claim) bool {
	s := a.blockedMoves(queue)
	s.dropBlocked(s.all)
	for dropped := s.rivals(); len(dropped) > 0; dropped = s.rivals() {
		for _, m := range dropped {
			s.drop(m)
		}
	}
	went := slices.DeleteFunc(s.all, func(m *move) bool { return m.dropped })
	for _, m := range went {
		a.ledger.release(m.slot.addr, m.claim)
	}
	for _, m := range went {
		a.ledger.take(m.slot.want, m.claim)
		m.slot.addr, m.slot.fault = m.slot.want, fault{}
	}
	return len(went) > 0
}

// moves are the moves that may still take place, unless they are dropped.
type moves struct {
	ledger *ledger
	all    []*move
	leaves map[*claim][]*move
	wanted map[netip.Addr][]*move
}

func (a *allocation) blockedMoves(queue []*claim) *moves {
	s := &moves{ledger: a.ledger, leaves: map[*claim][]*move{}, wanted: map[netip.Addr][]*move{}}
	for _, c := range queue {
		for i := range c.slots {
			if slot := &c.slots[i]; slot.addr.IsValid() && slot.fault.reason == AddressInUse {
				m := &move{claim: c, slot: slot}
				s.all = append(s.all, m)
				s.leaves[c] = append(s.leaves[c], m)
				s.wanted[slot.want] = append(s.wanted[slot.want], m)
			}
		}
	}
	return s
}

// dropBlocked drops those of the moves that are to an address which somebody will
// keep, and what follows from that.
func (s *moves) dropBlocked(some []*move) {
	for _, m := range some {
		if !m.dropped && s.blocked(m) {
			s.drop(m)
		}
	}
}

// drop drops a move. Its Service keeps its address, so those who want that are
// blocked. It goes without recursion, since a chain may be long.
func (s *moves) drop(first *move) {
	first.dropped = true
	for todo := []*move{first}; len(todo) > 0; {
		last := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, m := range s.wanted[last.slot.addr] {
			if !m.dropped && s.blocked(m) {
				m.dropped = true
				todo = append(todo, m)
			}
		}
	}
}

// blocked tells whether somebody with whom the claim may not share keeps the address
// that it wants.
func (s *moves) blocked(m *move) bool {
	return slices.ContainsFunc(s.ledger.conflicts(m.slot.want, m.claim), func(holder *claim) bool {
		return !slices.ContainsFunc(s.leaves[holder], func(l *move) bool {
			return !l.dropped && l.slot.addr == m.slot.want
		})
	})
}

// rivals are all but the first of the moves to the same address.
func (s *moves) rivals() (all []*move) {
	seen := map[netip.Addr]bool{}
	for _, m := range s.all {
		if !m.dropped {
			if seen[m.slot.want] {
				all = append(all, m)
			}
			seen[m.slot.want] = true
		}
	}
	return all
}
