package plan

import (
	"cmp"
	"net/netip"
	"slices"
)

// outgoing is an address that this node announces by BGP.
type outgoing struct {
	addr     netip.Addr
	weight   uint32
	draining bool
	local    bool         // some Service of it is Local
	entries  []int        // of the advertisements that select it
	nodes    []NodeWeight // that announce it
}

// offer is what one address and one advertisement come to for a peer.
type offer struct {
	Route
	entry int
}

// podCIDRs are the prefixes of this node's pods, and whether it is about to go. Whether
// it takes traffic for Services does not matter.
func (in Input) podCIDRs(n nodes) (out []Route) {
	self := n.byName[in.Self]
	draining := in.Leaving || Drains(self, in.Config.Nodes) != ""
	for _, p := range self.PodCIDRs {
		out = append(out, Route{Prefix: p.Masked(), Weight: 1, Pods: true, Draining: draining})
	}
	return out
}

// routes are those of all sessions. Of the advertisements that yield one prefix
// for one peer the first counts; an aggregate drains only with all that it stands
// for.
func routes(list []outgoing, entries []entry, pods []Route, replicate func(Route, []NodeWeight) []netip.Addr) []Route {
	var offers []offer
	for _, o := range list {
		for _, i := range o.entries {
			for _, s := range entries[i].sessions {
				r := o.route(entries[i], s)
				r.NextHops = replicate(r, o.nodes)
				offers = append(offers, offer{r, i})
			}
		}
	}
	for i, e := range entries {
		for _, s := range e.sessions {
			for _, r := range pods {
				if !e.PodCIDRs {
					break
				}
				r.Peer, r.Attributes = s.Name, e.attributes
				r.NextHops = replicate(r, nil)
				offers = append(offers, offer{r, i})
			}
		}
	}
	slices.SortFunc(offers, func(a, b offer) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), comparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.entry, b.entry))
	})
	out := slices.Grow([]Route(nil), len(offers))
	for _, o := range offers {
		if n := len(out); n > 0 && out[n-1].Peer == o.Peer && out[n-1].Prefix == o.Prefix {
			out[n-1].Draining = out[n-1].Draining && o.Draining
			continue
		}
		out = append(out, o.Route)
	}
	return out
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// route is the address's, or that of the aggregate which stands for it. An
// aggregate comes from every node alike, so its weight is 1.
func (o outgoing) route(e entry, s Session) Route {
	r := Route{Peer: s.Name, Prefix: host(o.addr), Weight: o.weight, Draining: o.draining, Attributes: e.attributes}
	bits := e.AggregationLength
	if o.addr.Is6() {
		bits = e.AggregationLengthV6
	}
	// An aggregate would draw the traffic of a Local Service to nodes without
	// endpoints.
	if bits > 0 && bits < o.addr.BitLen() && !o.local {
		r.Prefix, r.Weight = netip.PrefixFrom(o.addr, bits).Masked(), 1
	}
	return r
}

// host is the prefix of one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
