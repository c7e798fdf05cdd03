package l2

import (
	"maps"
	"net/netip"
	"time"
)

// saw deals with a rival that a reader saw.
func (lo *loop) saw(s sighting) {
	p := place{s.link, s.addr}
	if lo.serves(p) {
		lo.handle(lo.rivals.saw(time.Now(), p, s.mac, lo.kinship(s.mac)))
	}
}

func (lo *loop) kinship(m mac) kinship {
	if lo.peer == nil {
		return kinship{}
	}
	if node, ok := lo.peer(m.hardware()); ok {
		return kinship{peer: node}
	}
	return kinship{stranger: true}
}

// handle does what the rivals call for.
func (lo *loop) handle(acts []act) {
	for _, a := range acts {
		l := lo.links[a.r.link]
		switch {
		case a.kind == actReport || a.kind == actResolve:
			lo.report(Conflict{
				Addr: a.r.addr, Link: a.r.link, MAC: a.r.mac.hardware(), Peer: a.r.peer,
				Resolved: a.kind == actResolve,
			})
		case l == nil:
		case a.kind == actProbe:
			l.sender.once([]netip.Addr{a.r.addr}, l.probe)
		case a.kind == actDefend:
			l.sender.once([]netip.Addr{a.r.addr}, l.announce)
		case a.kind == actRepair:
			l.burst([]netip.Addr{a.r.addr})
		}
	}
}

func (lo *loop) report(c Conflict) {
	switch {
	case c.Bound && c.Resolved:
		lo.log.Info("address is not bound to this node any more", "address", c.Addr, "link", c.Link)
	case c.Bound:
		lo.log.Warn("address is bound to this node, whose kernel answers for it too; if other nodes bind it, they answer as well",
			"address", c.Addr, "link", c.Link, "hint", "kube-proxy in IPVS mode needs strictARP")
	case c.Resolved:
		lo.log.Info("no other interface answers for the address any more", "address", c.Addr, "link", c.Link, "mac", c.MAC.String(), "peer", c.Peer)
	default:
		lo.log.Warn("another interface answers for the address", "address", c.Addr, "link", c.Link, "mac", c.MAC.String(), "peer", c.Peer)
	}
	lo.onConflict(c)
}

// checkBound looks for claimed addresses that are bound to this node.
func (lo *loop) checkBound(now time.Time) {
	lo.boundT = now
	claimed := map[netip.Addr]struct{}{}
	for _, addrs := range lo.want {
		for _, a := range addrs {
			claimed[a] = struct{}{}
		}
	}
	found, err := bound(claimed)
	if err != nil {
		lo.log.Warn("cannot tell whether addresses are bound to this node", "error", err)
		return
	}
	for a, link := range found {
		if _, ok := lo.bound[a]; !ok {
			lo.report(Conflict{Addr: a, Link: link, Bound: true})
		}
	}
	for a, link := range lo.bound {
		if _, ok := found[a]; !ok {
			lo.report(Conflict{Addr: a, Link: link, Bound: true, Resolved: true})
		}
	}
	lo.bound = maps.Clone(found)
}
