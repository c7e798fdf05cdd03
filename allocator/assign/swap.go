package assign

import (
	"net/netip"
	"slices"
)

// move is a slot that waits for an address which another holds.
type move struct {
	claim *claim
	slot  *slot
}

// swap lets Services go that stand in each other's way only, such as two whose
// users exchange their addresses, and tells whether any went. Nobody else is
// affected: each address of such a circle goes to the one who asks for it.
func (a *allocation) swap(queue []*claim) bool {
	moves := a.blockedMoves(queue)
	for a.dropBlocked(&moves) || dropRivals(&moves) {
	}
	for _, m := range moves {
		a.ledger.release(m.slot.addr, m.claim)
	}
	for _, m := range moves {
		a.ledger.take(m.slot.want, m.claim)
		m.slot.addr, m.slot.fault = m.slot.want, fault{}
	}
	return len(moves) > 0
}

func (a *allocation) blockedMoves(queue []*claim) []move {
	var moves []move
	for _, c := range queue {
		for i := range c.slots {
			if s := &c.slots[i]; s.addr.IsValid() && s.fault.reason == AddressInUse {
				moves = append(moves, move{c, s})
			}
		}
	}
	return moves
}

// dropBlocked drops the moves to an address that somebody will keep.
func (a *allocation) dropBlocked(moves *[]move) bool {
	leaves := map[*claim][]netip.Addr{}
	for _, m := range *moves {
		leaves[m.claim] = append(leaves[m.claim], m.slot.addr)
	}
	before := len(*moves)
	*moves = slices.DeleteFunc(*moves, func(m move) bool {
		return slices.ContainsFunc(a.ledger.conflicts(m.slot.want, m.claim), func(holder *claim) bool {
			return !slices.Contains(leaves[holder], m.slot.want)
		})
	})
	return len(*moves) < before
}

// dropRivals drops all but the first move to the same address.
func dropRivals(moves *[]move) bool {
	seen := map[netip.Addr]bool{}
	before := len(*moves)
	*moves = slices.DeleteFunc(*moves, func(m move) bool {
		rival := seen[m.slot.want]
		seen[m.slot.want] = true
		return rival
	})
	return len(*moves) < before
}
