package plan

import (
	"cmp"
	"net/netip"
	"slices"
)

// hold is next with what applied announces of the addresses held.
func (f FuseState) hold(applied, next Table) Table {
	if !next.RouterID.IsValid() {
		// This node itself has gone from the snapshot, and all that BGP needs with it.
		next.ASN, next.RouterID, next.NextHops, next.ListenPort = applied.ASN, applied.RouterID, applied.NextHops, applied.ListenPort
		next.Sessions, next.Refused, next.AddPaths = applied.Sessions, applied.Refused, applied.AddPaths
	}
	addrs := make([]netip.Addr, 0, len(f.held))
	for a := range f.held {
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	next.Routes = f.holdRoutes(applied.Routes, next, addrs)
	next.Claims = f.holdClaims(applied.Claims, next.Claims)
	next.Decisions = f.holdDecisions(applied.Decisions, next.Decisions)
	return next
}

// holdRoutes also keeps an aggregate that stands for a held address.
func (f FuseState) holdRoutes(applied []Route, next Table, addrs []netip.Addr) []Route {
	out := slices.Clone(next.Routes)
	for _, r := range applied {
		_, there := slices.BinarySearchFunc(next.Routes, r, compareRoutes)
		session := slices.ContainsFunc(next.Sessions, func(s Session) bool { return s.Name == r.Peer })
		if !there && session && !r.Draining && anyIn(addrs, r.Prefix) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, compareRoutes)
	return out
}

func compareRoutes(a, b Route) int {
	return cmp.Or(cmp.Compare(a.Peer, b.Peer), comparePrefixes(a.Prefix, b.Prefix))
}

// anyIn tells whether one of the addresses, which are sorted, is in the prefix.
func anyIn(addrs []netip.Addr, p netip.Prefix) bool {
	i, _ := slices.BinarySearchFunc(addrs, p.Masked().Addr(), netip.Addr.Compare)
	return i < len(addrs) && p.Contains(addrs[i])
}

func (f FuseState) holdClaims(applied, next []Claim) []Claim {
	out := slices.Clone(next)
	for _, c := range applied {
		if _, held := f.held[c.Addr]; held { // so next has none
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Claim) int { return a.Addr.Compare(b.Addr) })
	return out
}

func (f FuseState) holdDecisions(applied, next []Decision) []Decision {
	out := slices.Clone(next)
	for _, d := range applied {
		if _, held := f.held[d.Addr]; !held || !d.Announce && !d.Claim {
			continue
		}
		i, there := slices.BinarySearchFunc(next, d, compareDecisions)
		d.Detail = "the Service or its address is gone"
		if there {
			d.Detail = string(next[i].Reason)
			if next[i].Detail != "" {
				d.Detail += ": " + next[i].Detail
			}
		}
		d.Reason, d.Nodes = WithdrawalHeld, nil
		if there {
			out[i] = d
		} else {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, compareDecisions)
	return out
}

func compareDecisions(a, b Decision) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), a.Addr.Compare(b.Addr))
}
