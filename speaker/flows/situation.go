package flows

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/plan"
)

// Situation is what this node announces, and to whom.
type Situation struct {
	Table plan.Table
	Holds plan.Holds // with the weights that all nodes announce
	Peers []Peer
	Nodes map[string]netip.Addr // where other nodes' speakers answer
}

// Peer is a BGP session.
type Peer struct {
	Name    string     // of the configuration; one that was found in a range has its address behind it
	Address netip.Addr // a link-local one has its link as zone; invalid: not known yet
	Up      bool       // routes are announced over it
	Paths   bool       // the peer takes more than one path of a prefix

	Established bool
	Withheld    string // why the peer gets less than it should; empty: it does not
	Reflects    bool   // it has sent us routes of others that are its clients, as we are
}

// target is an address whose flows are counted.
type target struct {
	addr   netip.Addr
	nodes  []share.Weight
	offers []share.Offer
	layer2 bool
}

// targets are what this node announces by BGP, sorted.
func (s Situation) targets(routers map[netip.Addr]string) (out []target) {
	offers := s.offers(routers)
	done := map[netip.Addr]bool{}
	for _, d := range s.Table.Decisions {
		if !d.Announce || done[d.Addr] {
			continue // Services that share an address are announced alike
		}
		done[d.Addr] = true
		nodes := d.Nodes
		if h, ok := s.Holds[d.Addr]; ok {
			nodes = h.Announced
		}
		t := target{addr: d.Addr, layer2: d.Owner != "", offers: offers[d.Addr]}
		for _, n := range nodes {
			t.nodes = append(t.nodes, share.Weight(n))
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b target) int { return a.addr.Compare(b.addr) })
	return out
}

// offers are those of each address. That it is part of an aggregate is none: an
// aggregate has no weight.
func (s Situation) offers(routers map[netip.Addr]string) map[netip.Addr][]share.Offer {
	sessions := map[string]plan.Session{}
	peers := map[string][]Peer{} // by session
	for _, x := range s.Table.Sessions {
		sessions[x.Name] = x
		for _, p := range s.Peers {
			if p.Name == x.Name || strings.HasPrefix(p.Name, x.Name+" ") {
				peers[x.Name] = append(peers[x.Name], p)
			}
		}
	}
	out := map[netip.Addr][]share.Offer{}
	for _, r := range s.Table.Routes {
		if !r.Prefix.IsSingleIP() {
			continue
		}
		a, x := r.Prefix.Addr(), sessions[r.Peer]
		for _, p := range peers[r.Peer] {
			out[a] = append(out[a], share.Offer{
				Peer: p.Name, Router: routers[p.Address], Up: p.Up, Weight: understood(r, x, p), Preference: preference(r, x),
			})
		}
	}
	return out
}

// understood is the weight that a peer can read out of a route. Which of several
// encodings it reads is not known; they differ only in weights that no node has.
func understood(r plan.Route, s plan.Session, p Peer) uint32 {
	switch {
	case s.Weights.Has(config.EncodeAddPath):
		if !p.Paths {
			return 1
		}
		return uint32(max(len(r.NextHops), 1))
	case s.Weights.Has(config.EncodeLinkBandwidth):
		return r.Weight
	case s.Weights.Has(config.EncodeCommunity):
		return min(r.Weight, config.MaxCommunityWeight)
	}
	return 1
}

// preference is what a router compares before it looks at weights.
func preference(r plan.Route, s plan.Session) string {
	var words []string
	if s.Internal {
		words = append(words, "iBGP")
	}
	if r.Draining {
		words = append(words, "draining")
	}
	if a := r.Attributes; a != nil {
		if a.LocalPref != nil && s.Internal {
			words = append(words, fmt.Sprintf("LOCAL_PREF %d", *a.LocalPref))
		}
		if a.MED != nil {
			words = append(words, fmt.Sprintf("MED %d", *a.MED))
		}
		if a.Prepend > 0 && !s.Internal {
			words = append(words, fmt.Sprintf("prepended %d times", a.Prepend))
		}
	}
	return strings.Join(words, ", ")
}

// routersOf names the peers whose frames can be told apart. Peers with one MAC are
// one router, named after the lowest of its addresses, so that all nodes of its
// segment call it the same. A link-local address is not of one router alone.
func routersOf(near map[netip.Addr]dataplane.Neighbour) map[netip.Addr]string {
	lowest := map[string]netip.Addr{}
	for a, n := range near {
		if had, ok := lowest[n.MAC.String()]; !ok || byReach(a, had) < 0 {
			lowest[n.MAC.String()] = a
		}
	}
	out := make(map[netip.Addr]string, len(near))
	for a, n := range near {
		first := lowest[n.MAC.String()]
		name := first.WithZone("").String()
		if first.IsLinkLocalUnicast() {
			name += " " + n.MAC.String()
		}
		out[a] = name
	}
	return out
}

// byReach has link-local addresses last.
func byReach(a, b netip.Addr) int {
	if a.IsLinkLocalUnicast() != b.IsLinkLocalUnicast() {
		if a.IsLinkLocalUnicast() {
			return 1
		}
		return -1
	}
	return cmp.Or(a.WithZone("").Compare(b.WithZone("")), a.Compare(b))
}

// spec is what the kernel shall count.
func spec(targets []target, near map[netip.Addr]dataplane.Neighbour, links []string) dataplane.FlowSpec {
	out := dataplane.FlowSpec{Links: links}
	for _, t := range targets {
		out.Addrs = append(out.Addrs, t.addr)
	}
	for _, n := range near {
		out.Routers = append(out.Routers, n.MAC)
	}
	return out
}

// hints tell the links to routers from those to pods.
func (s Situation) hints() (h dataplane.UplinkHints) {
	for _, p := range s.Peers {
		if p.Address.IsValid() {
			h.Peers = append(h.Peers, p.Address)
		}
	}
	for _, x := range s.Table.Sessions {
		if x.Interface != "" {
			h.Links = append(h.Links, x.Interface)
		}
		if x.Source.IsValid() {
			h.Own = append(h.Own, x.Source)
		}
	}
	for _, a := range []netip.Addr{s.Table.NextHops.IPv4, s.Table.NextHops.IPv6} {
		if a.IsValid() {
			h.Own = append(h.Own, a)
		}
	}
	return h
}

// macOf is the key by which the kernel's counts name a router.
func macOf(m net.HardwareAddr) (key dataplane.RouterMAC) {
	copy(key[:], m)
	return key
}
