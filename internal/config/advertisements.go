package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
)

const maxPrepend = 10

// advertisementAt is an advertisement and the places that are judged together
// with the rest of the document.
type advertisementAt struct {
	Advertisement
	pools, peers, communities []spot
	length, lengthV6          spot
	localPref, prepend        spot
}

func readAdvertisements(s spot) (list []advertisementAt) {
	s.items(func(s spot) { list = append(list, s.advertisement()) })
	return list
}

func (s spot) advertisement() advertisementAt {
	a := advertisementAt{Advertisement: Advertisement{AggregationLength: 32, AggregationLengthV6: 128}}
	s.object(fields{
		"pools":               func(s spot) { a.Pools, a.pools = s.names("to announce every pool") },
		"peers":               func(s spot) { a.Peers, a.peers = s.names("to announce to every peer") },
		"nodeSelector":        func(s spot) { a.NodeSelector = s.selector() },
		"serviceSelector":     func(s spot) { a.ServiceSelector = s.selector() },
		"namespaces":          func(s spot) { a.Namespaces, _ = s.names("to announce the Services of every namespace") },
		"podCIDRs":            func(s spot) { s.boolean(&a.PodCIDRs) },
		"aggregationLength":   func(s spot) { a.length, a.AggregationLength = s, s.number(1, 32) },
		"aggregationLengthV6": func(s spot) { a.lengthV6, a.AggregationLengthV6 = s, s.number(1, 128) },
		"communities":         func(s spot) { a.communities = s.communities(&a.Attributes) },
		"localPref":           func(s spot) { a.localPref, a.LocalPref = s, s.metric() },
		"med":                 func(s spot) { a.MED = s.metric() },
		"prepend":             func(s spot) { a.prepend, a.Prepend = s, s.number(0, maxPrepend) },
	})
	return a
}

func (s spot) metric() *uint32 {
	n, ok := s.integer(0, math.MaxUint32)
	if !ok {
		return nil
	}
	m := uint32(n)
	return &m
}

// names reads a list of names, and says where each is.
func (s spot) names(whatFor string) (names []string, at []spot) {
	// A template that renders to nothing would mean all of them.
	if s.isEmptyList() {
		s.fault("empty; leave it out %s", whatFor)
	}
	seen := map[string]string{}
	s.items(func(s spot) {
		n := s.name()
		if n == "" {
			return
		}
		s.unique(seen, n)
		names, at = append(names, n), append(at, s)
	})
	return names, at
}

// wantKnown complains of a name that nothing has.
func (s spot) wantKnown(what string, known []string) {
	name := s.node.Value
	if slices.Contains(known, name) {
		return
	}
	remedy := "write one of " + strings.Join(known, ", ")
	if n := nearest(name, known); n != "" {
		remedy = "did you mean " + n + "?"
	} else if len(known) == 0 {
		remedy = "there is none"
	}
	s.fault("%q: unknown %s; %s", name, what, remedy)
}

// check judges an advertisement by the pools and peers that there are.
func (a advertisementAt) check(c *Config, weights []weightsAt) {
	for _, s := range a.peers {
		s.wantKnown("peer", peerNames(c.Peers))
	}
	for _, s := range a.pools {
		s.wantKnown("pool", poolNames(c.Pools))
	}
	for _, p := range c.Pools {
		if len(a.Pools) > 0 && !slices.Contains(a.Pools, p.Name) {
			continue
		}
		a.checkPool(p)
	}
	for _, s := range a.communities {
		a.refuseWeight(s, weights)
	}
}

func (a advertisementAt) checkPool(p Pool) {
	if i := slices.Index(a.Pools, p.Name); i >= 0 && !p.BGP {
		a.pools[i].fault("%q: is announced at layer 2 only; add bgp to its announce, or take it out", p.Name)
	}
	if !p.BGP {
		return
	}
	a.length.refuseForeign(p, cluster.IPv4, a.AggregationLength)
	a.lengthV6.refuseForeign(p, cluster.IPv6, a.AggregationLengthV6)
}

// refuseForeign complains of aggregates with addresses that are not the pool's:
// whoever has them would lose their traffic.
func (s spot) refuseForeign(p Pool, f cluster.Family, length int) {
	if !s.present() || length == 0 {
		return
	}
	for _, r := range merged(p.Ranges, f) {
		if r.filledBy(length) {
			continue
		}
		least := length
		for !r.filledBy(least) {
			least++
		}
		foreign := netip.PrefixFrom(r.From, length).Masked()
		if foreign.Addr() == r.From {
			foreign = netip.PrefixFrom(r.To, length).Masked()
		}
		s.fault("%d: %s has addresses that are not in pool %s; write at least %d, or announce the pool by another advertisement", length, foreign, p.Name, least)
		return
	}
}

// merged joins ranges of one family that touch.
func merged(ranges []Range, f cluster.Family) (out []Range) {
	for _, r := range ranges {
		switch last := len(out) - 1; {
		case r.Family() != f:
		case last >= 0 && out[last].To.Next() == r.From:
			out[last].To = r.To
		default:
			out = append(out, r)
		}
	}
	return out
}

// filledBy tells whether prefixes of this length fill the range exactly.
func (r Range) filledBy(length int) bool {
	return netip.PrefixFrom(r.From, length).Masked().Addr() == r.From && lastOf(netip.PrefixFrom(r.To, length)) == r.To
}

// refuseWeight complains of a community that a peer takes for a weight.
func (a advertisementAt) refuseWeight(s spot, weights []weightsAt) {
	c, _, _, _ := parseCommunity(s.node.Value)
	for _, w := range weights {
		if w.Tells(c) && (len(a.Peers) == 0 || slices.Contains(a.Peers, w.peer)) {
			s.fault("%q: tells peer %s a weight of %d; write another, or change the peer's community, %s", s.node.Value, w.peer, c&0xffff-uint32(w.Base), w)
			return
		}
	}
}

// String is the form of the configuration.
func (w CommunityWeights) String() string { return fmt.Sprintf("%d:%d", w.ASN, w.Base) }

func poolNames(pools []Pool) (names []string) {
	for _, p := range pools {
		names = append(names, p.Name)
	}
	return names
}

func peerNames(peers []Peer) (names []string) {
	for _, p := range peers {
		names = append(names, p.Name)
	}
	return names
}
