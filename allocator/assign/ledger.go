package assign

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// ledger knows who uses which address.
type ledger struct {
	pools  *pools
	uses   map[netip.Addr]*use
	groups map[scope]*group
	left   func(netip.Addr) // is told of each address that a user has left
}

// scope is who may share an address: the Services with one sharing key, in one
// namespace, or in all where the address's pool says so.
type scope struct {
	key       string // empty: shared with nobody
	namespace string // empty: any
}

// use is one address that is in use.
type use struct {
	scope
	claims []*claim
	ports  map[cluster.Port]*claim // nil unless the first user shares the address
	closed *claim                  // a user who shares with nobody, although others were there before
	mixed  bool                    // users of several namespaces, from before the pool's rule: nobody joins them
}

// group is what the Services of one scope hold, in the order in which they took
// it.
type group struct {
	addrs [2][]netip.Addr
	// full remembers how many of the addrs have a port taken already, so that a
	// thousand Services with one key and one port do not each look at all of them.
	full [2]map[cluster.Port]int
}

// newLedger is an empty ledger, made for so many Services.
func newLedger(c *config.Config, size int) *ledger {
	uses := make(map[netip.Addr]*use, size)
	return &ledger{pools: indexPools(c, uses), uses: uses, groups: map[scope]*group{}, left: func(netip.Addr) {}}
}

// scope is with whom c shares an address.
func (l *ledger) scope(addr netip.Addr, c *claim) scope {
	switch p := l.pools.of(addr); {
	case c.sharing == "":
		return scope{}
	case p != nil && p.SharingAcross:
		return scope{key: c.sharing}
	default:
		return scope{c.sharing, c.svc.Namespace}
	}
}

// shared tells whether the users share the address with c as far as ports allow.
func (u *use) shared(c *claim) bool {
	return c.sharing != "" && c.sharing == u.key && (u.namespace == "" || u.namespace == c.svc.Namespace) && u.closed == nil && !u.mixed
}

// sharedOnce is shared for two who have the address already, maybe from before the
// pool's rule: they go on, whatever their namespaces.
func (u *use) sharedOnce(c *claim) bool {
	return c.sharing != "" && c.sharing == u.key && u.closed == nil
}

// conflict is a user of the address with whom c may not share it, or nil.
func (l *ledger) conflict(addr netip.Addr, c *claim) *claim {
	u := l.uses[addr]
	switch {
	case u == nil:
		return nil
	case !u.shared(c):
		return u.first()
	default:
		return u.clash(c)
	}
}

// conflictOfHolders is conflict for one who has the address already.
func (l *ledger) conflictOfHolders(addr netip.Addr, c *claim) *claim {
	if u := l.uses[addr]; u != nil && u.sharedOnce(c) {
		return u.clash(c)
	}
	return l.conflict(addr, c)
}

// first is the user to name to those who may not share at all.
func (u *use) first() *claim {
	if u.closed != nil {
		return u.closed
	}
	return u.claims[0]
}

// clash is a user who has a port of c.
func (u *use) clash(c *claim) *claim {
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

// isOwn tells whether the Service of a claim has the address by another claim, such
// as one whose spec.externalIPs names it as well.
func (l *ledger) isOwn(addr netip.Addr, c *claim) bool {
	u := l.uses[addr]
	return u != nil && slices.ContainsFunc(u.claims, func(x *claim) bool { return x.key == c.key })
}

// take makes c a user of an address.
func (l *ledger) take(addr netip.Addr, c *claim) {
	u := l.uses[addr]
	switch {
	case u == nil:
		u = &use{scope: l.scope(addr, c)}
		l.uses[addr] = u
		l.pools.taken(addr)
		l.enter(addr, u)
	case !u.sharedOnce(c):
		u.closed = c
	case l.scope(addr, c) != u.scope:
		u.mixed = true
	}
	u.claims = append(u.claims, c)
	if u.ports != nil {
		for _, p := range c.svc.Ports {
			if u.ports[p] == nil {
				u.ports[p] = c
			}
		}
	}
}

// enter makes an address known to the Services that may share it.
func (l *ledger) enter(addr netip.Addr, u *use) {
	if u.key == "" {
		return
	}
	u.ports = map[cluster.Port]*claim{}
	g := l.groups[u.scope]
	if g == nil {
		g = &group{}
		l.groups[u.scope] = g
	}
	f := familyIndex(cluster.FamilyOf(addr))
	g.addrs[f] = append(g.addrs[f], addr)
}

func (l *ledger) release(addr netip.Addr, c *claim) {
	u := l.uses[addr]
	u.claims = slices.DeleteFunc(u.claims, func(x *claim) bool { return x == c })
	for _, p := range c.svc.Ports {
		if u.ports[p] == c {
			delete(u.ports, p)
		}
	}
	if len(u.claims) == 0 {
		delete(l.uses, addr)
		l.pools.freed(addr)
	}
	if g := l.groups[u.scope]; g != nil {
		g.full = [2]map[cluster.Port]int{}
		g.forget(addr, len(u.claims) == 0)
	}
	l.left(addr)
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
	if c.sharing == "" {
		return netip.Addr{}
	}
	for _, s := range []scope{{c.sharing, c.svc.Namespace}, {key: c.sharing}} {
		g := l.groups[s]
		if g == nil {
			continue
		}
		addrs := g.addrs[familyIndex(f)]
		for _, addr := range addrs[l.skip(g, familyIndex(f), c):] {
			if l.conflict(addr, c) == nil && ok(addr) {
				return addr
			}
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
