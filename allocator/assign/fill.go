package assign

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
)

// open tells whether a slot waits for an address: it has none, or the user asks
// for another than it has. Priorities, selectors, autoAssign and ranges that
// change are no such wish, unless the configuration says onRemoval: release.
func (a *allocation) open(c *claim, s *slot) bool {
	switch {
	case c.fault.reason != "":
		return false
	case !s.addr.IsValid():
		return true
	case s.want.IsValid():
		return s.addr != s.want
	case c.request.pool != "":
		p := a.pools.of(s.addr)
		return p == nil || p.Name != c.request.pool
	default:
		return a.config.ReleaseRemoved && a.pools.of(s.addr) == nil
	}
}

// fill gives a claim the addresses that it still waits for, as far as there are
// any, and tells whether there were. An address is left only when its successor
// is there.
func (a *allocation) fill(c *claim) bool {
	var picks [2]netip.Addr
	var auto []int
	for i := range c.slots {
		s := &c.slots[i]
		s.fault = fault{}
		switch {
		case !a.open(c, s):
		case s.want.IsValid():
			picks[i], s.fault = a.explicit(c, s.want)
		default:
			auto = append(auto, i)
		}
	}
	a.automatic(c, auto, &picks)
	if c.svc.FamilyPolicy == cluster.RequireDualStack && c.empty() && c.incomplete() {
		return false
	}
	return a.takeAll(c, picks)
}

// incomplete tells whether a family is not to be had.
func (c *claim) incomplete() bool {
	for i := range c.slots {
		if c.slots[i].fault.reason != "" {
			return true
		}
	}
	return false
}

func (a *allocation) takeAll(c *claim, picks [2]netip.Addr) (took bool) {
	for i := range c.slots {
		s := &c.slots[i]
		if !picks[i].IsValid() {
			continue
		}
		if s.addr.IsValid() {
			a.ledger.release(s.addr, c)
		}
		a.ledger.take(picks[i], c)
		s.addr = picks[i]
		took = true
	}
	return took
}

// explicit is the address that the user asks for, or why it is not to be had.
func (a *allocation) explicit(c *claim, want netip.Addr) (netip.Addr, fault) {
	p := a.pools.of(want)
	if p == nil {
		return netip.Addr{}, fault{AddressNotInPool, fmt.Sprintf("%s is in no pool", want)}
	}
	if name := c.request.pool; name != "" && name != p.Name {
		return netip.Addr{}, fault{InvalidRequest, fmt.Sprintf("%s is in pool %s, not in pool %s that is asked for as well", want, p.Name, cluster.Word(name))}
	}
	if !p.Serves(c.svc) {
		return netip.Addr{}, fault{PoolNotForService, fmt.Sprintf("%s is in pool %s, which is not for this namespace or these labels", want, p.Name)}
	}
	if p.IsRetired(want) {
		return netip.Addr{}, fault{AddressRetired, fmt.Sprintf("%s is retired in pool %s", want, p.Name)}
	}
	if a.ledger.conflict(want, c) != nil {
		return netip.Addr{}, fault{AddressInUse, a.ledger.whyNot(want, c)}
	}
	return want, fault{}
}

// whyNot says with whom c may not share an address, and what stands in the way.
func (l *ledger) whyNot(addr netip.Addr, c *claim) string {
	all, u := l.conflicts(addr, c), l.uses[addr]
	oldest := slices.MinFunc(all, byAge)
	if oldest.what != "" {
		return fmt.Sprintf("%s %s", addr, oldest.what)
	}
	who := oldest.key
	if len(all) > 1 {
		who += fmt.Sprintf(" and %d more", len(all)-1)
	}
	switch {
	case oldest.svc.Deleting:
		who += ", which is being deleted"
	case !oldest.svc.Ours():
		who += ", which is not Herald's"
	}
	if u.shared(c) {
		return fmt.Sprintf("%s of %s is in use by %s", clashing(u, c), addr, who)
	}
	if u.sharedOnce(c) {
		who += ", of another namespace, and its pool does not say sharing: acrossNamespaces"
	}
	return fmt.Sprintf("%s is in use by %s", addr, who)
}

// clashing names the first port that c has in common with a user of the address.
func clashing(u *use, c *claim) string {
	for _, p := range c.svc.Ports {
		if u.ports[p] != nil {
			return fmt.Sprintf("%s port %d", p.Protocol, p.Port)
		}
	}
	return "a port" // cannot be: there is a clash
}
