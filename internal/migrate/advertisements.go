package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// advertisements writes none where MetalLB's one says what Herald does anyway: all
// addresses to all peers.
func (m *migration) advertisements() {
	aliases := m.aliases()
	for _, a := range m.from.bgp {
		m.advertisement(a, aliases)
	}
	out := m.to.Advertisements
	if len(out) == 0 && len(m.to.Peers) > 0 {
		m.notes = append(m.notes, Note{Object: "BGPAdvertisement", Text: "there is none, so MetalLB announces nothing by BGP. Herald announces the pools with bgp in `announce` to all peers"})
	}
	// The first that selects a prefix for a peer counts, so the special come first.
	slices.SortStableFunc(out, func(a, b advertisement) int { return cmp.Compare(b.special(), a.special()) })
	if len(out) == 1 && out[0].special() == 0 && out[0].plain() {
		m.to.Advertisements = nil
	}
	if len(m.from.bgp) > 1 {
		m.clashes()
	}
}

func (a advertisement) special() (n int) {
	for _, set := range []bool{len(a.Pools) > 0, len(a.Peers) > 0, a.NodeSelector != nil, a.ServiceSelector != nil} {
		if set {
			n++
		}
	}
	return n
}

// plain tells that the routes have neither attributes nor another length.
func (a advertisement) plain() bool {
	return a.AggregationLength == 0 && a.AggregationLengthV6 == 0 && len(a.Communities) == 0 && a.LocalPref == 0 && a.Prepend == 0
}

func (m *migration) advertisement(a object[bgpSpec], aliases map[string]string) {
	const kind = "BGPAdvertisement"
	out := advertisement{LocalPref: a.spec.LocalPref, Prepend: a.spec.ASPathPrepend}
	if n := a.spec.AggregationLength; n != nil && *n != 32 {
		out.AggregationLength = *n
	}
	if n := a.spec.AggregationLengthV6; n != nil && *n != 128 {
		out.AggregationLengthV6 = *n
	}
	for _, c := range a.spec.Communities {
		if value, ok := aliases[c]; ok {
			c = value
		}
		out.Communities = append(out.Communities, strings.TrimPrefix(c, "large:"))
	}
	for _, p := range m.from.pools {
		if a.spec.selects(p) {
			out.Pools = append(out.Pools, strings.ReplaceAll(p.name, ".", "-"))
		}
	}
	if len(out.Pools) == 0 {
		m.note(kind, a.name, "", "it selects no pool that is here, and is left out")
		return
	}
	if len(a.spec.Pools)+len(a.spec.PoolSelectors) == 0 {
		out.Pools = nil // also those that come later
	}
	for _, p := range a.spec.Peers {
		names, ok := m.peerNames[p]
		if !ok {
			m.note(kind, a.name, "peers", fmt.Sprintf("there is no BGPPeer %s", p))
		}
		out.Peers = append(out.Peers, names...)
	}
	if len(a.spec.Peers) > 0 && len(out.Peers) == 0 {
		m.note(kind, a.name, "peers", "none of them is here, so the advertisement is left out")
		return
	}
	for _, nodes := range eachOr(either(a.spec.NodeSelectors)) {
		for _, services := range eachOr(either(a.spec.ServiceSelectors)) {
			out.NodeSelector, out.ServiceSelector = nodes, services
			m.to.Advertisements = append(m.to.Advertisements, out)
		}
	}
}

// aliases are the values of communities by their names.
func (m *migration) aliases() map[string]string {
	out := map[string]string{}
	for _, o := range m.from.communities {
		for _, c := range o.spec.Communities {
			out[c.Name] = c.Value
		}
	}
	return out
}

// clashes tells of advertisements of one prefix to one peer: MetalLB joins their
// communities, Herald takes the first.
func (m *migration) clashes() {
	for i, a := range m.from.bgp {
		for _, b := range m.from.bgp[i+1:] {
			if m.sharePool(a, b) && sharePeer(a, b) && length(a.spec.AggregationLength, 32) == length(b.spec.AggregationLength, 32) &&
				(!slices.Equal(a.spec.Communities, b.spec.Communities) || a.spec.LocalPref != b.spec.LocalPref || a.spec.ASPathPrepend != b.spec.ASPathPrepend) {
				m.note("BGPAdvertisement", b.name, "", fmt.Sprintf("it and %s announce some of the same addresses to some of the same peers, with different attributes: in Herald the first of `advertisements` that selects an address counts, and nothing is joined", a.name))
			}
		}
	}
}

func (m *migration) sharePool(a, b object[bgpSpec]) bool {
	return slices.ContainsFunc(m.from.pools, func(p object[poolSpec]) bool { return a.spec.selects(p) && b.spec.selects(p) })
}

func sharePeer(a, b object[bgpSpec]) bool {
	return len(a.spec.Peers) == 0 || len(b.spec.Peers) == 0 ||
		slices.ContainsFunc(a.spec.Peers, func(p string) bool { return slices.Contains(b.spec.Peers, p) })
}

func length(n *int, normal int) int {
	if n == nil {
		return normal
	}
	return *n
}
