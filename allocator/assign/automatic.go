package assign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
)

// automatic picks an address for each of the slots, or says in the slot why
// there is none. It prefers, in this order: what the Service has and only now
// can keep, an address that it may share, one that is not in quarantine, a pool that has all families, the first pool
// that has one.
func (a *allocation) automatic(c *claim, slots []int, picks *[2]netip.Addr) {
	slots = a.pickLost(c, slots, picks)
	slots = a.pickShared(c, slots, picks)
	for _, quarantined := range []bool{false, true} {
		if len(slots) == 2 {
			slots = a.pickPair(c, slots, picks, quarantined)
		}
		slots = slices.DeleteFunc(slots, func(i int) bool {
			picks[i] = a.pickOne(c, c.slots[i].family, picks, quarantined)
			return picks[i].IsValid()
		})
	}
	for _, i := range slots {
		c.slots[i].fault = a.whyNone(c, c.slots[i].family)
	}
}

// pickLost takes an address back that the Service had with an older one, which has
// moved away since. It returns the slots that are left.
func (a *allocation) pickLost(c *claim, slots []int, picks *[2]netip.Addr) (rest []int) {
	for _, i := range slots {
		s := c.slots[i]
		s.addr = s.lost
		if !s.addr.IsValid() || a.open(c, &s) || a.ledger.conflict(s.addr, c) != nil {
			rest = append(rest, i)
			continue
		}
		picks[i] = s.addr
	}
	return rest
}

// pickShared returns the slots that are left.
func (a *allocation) pickShared(c *claim, slots []int, picks *[2]netip.Addr) (rest []int) {
	if c.sharing == "" {
		return slots
	}
	allowed := func(addr netip.Addr) bool {
		p := a.pools.of(addr)
		return p != nil && c.mayHave(p) && !p.IsRetired(addr)
	}
	for _, i := range slots {
		picks[i] = a.ledger.shareable(c, c.slots[i].family, allowed)
		if !picks[i].IsValid() {
			rest = append(rest, i)
		}
	}
	return rest
}

// pickPair takes both addresses out of one pool if there is such a pool.
func (a *allocation) pickPair(c *claim, slots []int, picks *[2]netip.Addr, quarantined bool) (rest []int) {
	for _, p := range a.pools.candidates(c) {
		first, second := p.free(c.slots[slots[0]].family, quarantined), p.free(c.slots[slots[1]].family, quarantined)
		if first.IsValid() && second.IsValid() && c.mayHave(p) {
			picks[slots[0]], picks[slots[1]] = first, second
			return nil
		}
	}
	return slots
}

// pickOne prefers the pool that the Service's other address is from.
func (a *allocation) pickOne(c *claim, f cluster.Family, picks *[2]netip.Addr, quarantined bool) netip.Addr {
	if p := a.poolOfOther(c, f, picks); p != nil && c.mayHave(p) {
		if addr := p.free(f, quarantined); addr.IsValid() {
			return addr
		}
	}
	for _, p := range a.pools.candidates(c) {
		if addr := p.free(f, quarantined); addr.IsValid() && c.mayHave(p) {
			return addr
		}
	}
	return netip.Addr{}
}

func (a *allocation) poolOfOther(c *claim, f cluster.Family, picks *[2]netip.Addr) *pool {
	for i, s := range c.slots {
		switch {
		case s.family == f:
		case picks[i].IsValid():
			return a.pools.of(picks[i])
		case s.addr.IsValid():
			return a.pools.of(s.addr)
		}
	}
	return nil
}

// mayHave tells whether a claim may get an address of the pool without asking
// for that very address.
func (c *claim) mayHave(p *pool) bool {
	if c.request.pool == "" {
		return p.AutoAssign && p.Serves(c.svc)
	}
	return p.Name == c.request.pool && p.Serves(c.svc)
}

// whyNone tells why there is no address of a family for a claim.
func (a *allocation) whyNone(c *claim, f cluster.Family) fault {
	if c.request.pool != "" {
		return a.whyNoneInPool(c, f)
	}
	var full, others []string
	for _, p := range a.pools.order {
		switch s := p.shelves[familyIndex(f)]; {
		case s == nil:
		case !p.AutoAssign:
			others = append(others, p.Name+" has autoAssign: false")
		case !p.Serves(c.svc):
			others = append(others, p.Name+" is not for this namespace or these labels")
		default:
			full = append(full, p.fullness(s))
		}
	}
	if len(full) > 0 {
		return fault{PoolExhausted, fmt.Sprintf("no %s address is free (%s)", f, enumerate(full))}
	}
	if len(others) == 0 {
		return fault{NoPool, fmt.Sprintf("no pool has %s addresses", f)}
	}
	return fault{NoPool, fmt.Sprintf("no pool hands out %s addresses to it (%s)", f, enumerate(others))}
}

func (a *allocation) whyNoneInPool(c *claim, f cluster.Family) fault {
	p := a.pools.named[c.request.pool]
	switch {
	case p == nil:
		return fault{PoolNotFound, fmt.Sprintf("there is no pool %s (there are: %s)", cluster.Word(c.request.pool), a.pools.names())}
	case !p.Serves(c.svc):
		return fault{PoolNotForService, fmt.Sprintf("pool %s is not for this namespace or these labels", p.Name)}
	case p.shelves[familyIndex(f)] == nil:
		return fault{NoPool, fmt.Sprintf("pool %s has no %s addresses", p.Name, f)}
	default:
		return fault{PoolExhausted, fmt.Sprintf("no %s address is free (%s)", f, p.fullness(p.shelves[familyIndex(f)]))}
	}
}

func (p *pool) fullness(s *shelf) string {
	return fmt.Sprintf("%s: %d of %d in use", p.Name, s.used, s.capacity())
}

// enumerate keeps a message short where there are hundreds of pools.
func enumerate(parts []string) string {
	const most = 8
	if len(parts) > most {
		return fmt.Sprintf("%s, and %d more", strings.Join(parts[:most], ", "), len(parts)-most)
	}
	return strings.Join(parts, ", ")
}
