package plan

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// HandoverTime is for how long a node goes on answering at layer 2 for what another one
// takes over. They learn of the change at different moments, and somebody has to answer
// between the two.
const HandoverTime = 250 * time.Millisecond

// Handover remembers, by address, until when this node goes on answering for what
// another one takes over. The zero value remembers nothing.
type Handover map[netip.Addr]time.Time

// HandOver keeps claims in the table that another node takes over, for a while and as
// long as this one can serve them. It returns when to ask again without an event; the
// zero time: there are none.
func (h Handover) HandOver(claims []Claim, t Table, services []cluster.Service, now time.Time) (Table, Handover, time.Time) {
	var next time.Time
	is := Handover{}
	t.Claims = slices.Clone(t.Claims)
	for _, c := range handedOver(claims, t, services) {
		end, ok := h[c.Addr]
		if !ok {
			end = now.Add(HandoverTime)
		}
		is[c.Addr] = end // also when it is over: it must not begin again
		if now.Before(end) {
			t.Claims = append(t.Claims, c)
			next = earliestIn(next, end)
		}
	}
	slices.SortFunc(t.Claims, func(a, b Claim) int { return a.Addr.Compare(b.Addr) })
	return t, is, next
}

// handedOver are the claims that are another node's now, but that this one could still
// serve: all Services that share the address.
func handedOver(claims []Claim, t Table, services []cluster.Service) []Claim {
	gone := map[netip.Addr]Claim{}
	for _, c := range claims {
		gone[c.Addr] = c
	}
	for _, c := range t.Claims {
		delete(gone, c.Addr)
	}
	if len(gone) == 0 {
		return nil
	}
	serves := map[netip.Addr]bool{}
	for _, d := range t.Decisions {
		if _, ok := gone[d.Addr]; !ok {
			continue
		}
		i, ok := slices.BinarySearchFunc(services, d.Service, compareKey)
		before, shared := serves[d.Addr]
		serves[d.Addr] = (before || !shared) && d.Owner != "" && d.Owner != t.Self && ok && canServe(services[i], d.Addr, t.Self)
	}
	maps.DeleteFunc(gone, func(a netip.Addr, _ Claim) bool { return !serves[a] })
	return slices.Collect(maps.Values(gone))
}

func compareKey(s cluster.Service, key string) int { return cmp.Compare(s.Key(), key) }

func canServe(s cluster.Service, a netip.Addr, node string) bool {
	return !s.LocalOnly || slices.ContainsFunc(s.Endpoints, func(e cluster.Endpoint) bool {
		return e.Node == node && cluster.FamilyOf(e.Addr) == cluster.FamilyOf(a) && (e.Ready || e.Serving && e.Terminating)
	})
}
