package assign

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// ledger knows who uses which address. All users of one address may share it
// with each other, but for those of other controllers, who come last.
type ledger struct {
	pools  *pools
	uses   map[netip.Addr]*use
	groups map[string]*group // by sharing key
}

// use is one address that is in use.
type use struct {
	claims []*claim
	ports  map[cluster.Port]*claim // nil unless the first user shares the address
}

// group is what the Services of one sharing key hold, in the order in which
// they took it.
type group struct {
	addrs [2][]netip.Addr
	// full remembers how many of the addrs have a port taken already, so that a
	// thousand Services with one key and one port do not each look at all of them.
	full [2]map[cluster.Port]int
}

// newLedger is an empty ledger, made for so many Services.
func newLedger(c *config.Config, size int) *ledger {
	uses := make(map[netip.Addr]*use, size)
	return &ledger{pools: indexPools(c, uses), uses: uses, groups: map[string]*group{}}
}

// shared tells whether the users share the address with c as far as ports allow.
func (u *use) shared(c *claim) bool {
	return c.sharing != "" && c.sharing == u.claims[0].sharing
}

// conflict is a user of the address with whom c may not share it, or nil.
func (l *ledger) conflict(addr netip.Addr, c *claim) *claim {
	u := l.uses[addr]
	if u == nil {
		return nil
	}
	if !u.shared(c) {
		return u.claims[0]
	}
	for _, p := range c.svc.Ports {
		if holder := u.ports[p]; holder != nil && holder != c {
			return holder
		}
	}
	return nil
}

// conflicts is every user of the address with whom c may not share it.
func (l *ledger) conflicts(addr netip.Addr, c *claim) []*claim {
	u := l.uses[addr]
	if u == nil {
		return nil
	}
	if !u.shared(c) {
		return u.claims
	}
	var all []*claim
	for _, p := range c.svc.Ports {
		if holder := u.ports[p]; holder != nil && holder != c && !slices.Contains(all, holder) {
			all = append(all, holder)
		}
	}
	return all
}

// take makes c a user of an address.
func (l *ledger) take(addr netip.Addr, c *claim) {
	u := l.uses[addr]
	if u == nil {
		u = &use{}
		l.uses[addr] = u
		l.pools.taken(addr)
		l.enter(addr, c, u)
	}
	u.claims = append(u.claims, c)
	if c.sharing != "" {
		for _, p := range c.svc.Ports {
			u.ports[p] = c
		}
	}
}

// enter makes an address known to the Services with which c shares.
func (l *ledger) enter(addr netip.Addr, c *claim, u *use) {
	if c.sharing == "" {
		return
	}
	u.ports = map[cluster.Port]*claim{}
	g := l.groups[c.sharing]
	if g == nil {
		g = &group{}
		l.groups[c.sharing] = g
	}
	f := familyIndex(cluster.FamilyOf(addr))
	g.addrs[f] = append(g.addrs[f], addr)
}

func (l *ledger) release(addr netip.Addr, c *claim) {
	u := l.uses[addr]
	u.claims = slices.DeleteFunc(u.claims, func(x *claim) bool { return x == c })
	for _, p := range c.svc.Ports {
		delete(u.ports, p)
	}
	if len(u.claims) == 0 {
		delete(l.uses, addr)
		l.pools.freed(addr)
	}
	if g := l.groups[c.sharing]; g != nil {
		g.full = [2]map[cluster.Port]int{}
		g.forget(addr, len(u.claims) == 0)
	}
}

func (g *group) forget(addr netip.Addr, unused bool) {
	if !unused {
		return
	}
	for f := range g.addrs {
		g.addrs[f] = slices.DeleteFunc(g.addrs[f], func(x netip.Addr) bool { return x == addr })
	}
}

// shareable is the first address in use that c may share and that ok accepts.
func (l *ledger) shareable(c *claim, f cluster.Family, ok func(netip.Addr) bool) netip.Addr {
	g := l.groups[c.sharing]
	if g == nil || c.sharing == "" {
		return netip.Addr{}
	}
	addrs := g.addrs[familyIndex(f)]
	for _, addr := range addrs[l.skip(g, familyIndex(f), c):] {
		if l.conflict(addr, c) == nil && ok(addr) {
			return addr
		}
	}
	return netip.Addr{}
}

// skip is how many addresses of the group need no look, since a port of c is
// taken on each of them.
func (l *ledger) skip(g *group, f int, c *claim) int {
	if g.full[f] == nil {
		g.full[f] = map[cluster.Port]int{}
	}
	most := 0
	for _, p := range c.svc.Ports {
		n := g.full[f][p]
		for n < len(g.addrs[f]) && l.uses[g.addrs[f][n]].ports[p] != nil {
			n++
		}
		g.full[f][p] = n
		most = max(most, n)
	}
	return most
}
