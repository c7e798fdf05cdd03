package router

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Options are what the configuration does not tell.
type Options struct {
	Peer   string         // whose side to write; empty: every peer's
	Nodes  []netip.Addr   // of the sessions, as the router sees them
	Ranges []netip.Prefix // or where they are; with neither: the network of the peer's own address
	ASN    uint32         // the router's, where the configuration does not say it; 0: not given
}

// side is what one router must be told.
type side struct {
	config.Peer
	where    string // which part of the configuration it belongs to
	asn      uint32 // the router's
	nodeASNs []uint32
	internal bool // iBGP

	nodes   []netip.Addr
	ranges  []netip.Prefix
	assumed bool // ranges are a guess

	listen  uint16 // where nodes listen, if the router dials
	bfd     *config.BFDProfile
	allowed []allowance
	// weights are the communities that tell weights, on any node.
	weights []config.CommunityWeights
}

// allowance is the prefixes that Herald may announce within one.
type allowance struct {
	netip.Prefix
	least int // their length at least
}

// Error says what is missing in Options.
type Error struct{ Text string }

func (e Error) Error() string { return e.Text }

// sides are what the routers of a configuration must be told: one for each peer,
// and for each of its overrides.
func sides(c *config.Config, o Options) ([]side, error) {
	var list []side
	var names []string
	for _, p := range c.Peers {
		names = append(names, p.Name)
		if o.Peer != "" && o.Peer != p.Name {
			continue
		}
		for i, v := range append([]config.Peer{p}, p.Overrides...) {
			s, err := sideOf(c, v, o)
			if err != nil {
				return nil, err
			}
			s.weights = communities(p)
			s.where = "peer " + p.Name
			if i > 0 {
				s.where += fmt.Sprintf(" as in its overrides[%d]", i-1)
			}
			list = append(list, s)
		}
	}
	switch {
	case len(names) == 0:
		return nil, Error{"the configuration has no peers"}
	case len(list) == 0:
		return nil, Error{fmt.Sprintf("there is no peer %s; there are %s", o.Peer, strings.Join(names, ", "))}
	}
	return list, nil
}

func sideOf(c *config.Config, p config.Peer, o Options) (side, error) {
	s := side{Peer: p, nodes: o.Nodes, ranges: o.Ranges, nodeASNs: ownASNs(c, p), asn: cmp.Or(p.ASN, o.ASN), allowed: allowed(c, p)}
	if s.asn == 0 {
		return s, Error{fmt.Sprintf("peer %s: the configuration does not say the router's AS number; add --asn", p.Name)}
	}
	if p.ASN != 0 && o.ASN != 0 && p.ASN != o.ASN {
		return s, Error{fmt.Sprintf("peer %s: its AS number is %d, not %d; leave --asn out, or choose another peer by --peer", p.Name, p.ASN, o.ASN)}
	}
	s.internal = !p.External && slices.Contains(s.nodeASNs, s.asn)
	if s.internal && len(s.nodeASNs) > 1 {
		return s, Error{fmt.Sprintf("peer %s: sessions with it are internal on some nodes and external on others, as bgp.overrides say; write a peer for each", p.Name)}
	}
	if p.Passive {
		s.listen = c.BGP.ListenPort
	}
	for _, b := range c.BFDProfiles {
		if b.Name == p.BFDProfile {
			s.bfd = &b
		}
	}
	return s, s.settleNodes()
}

// settleNodes finds out where the nodes are.
func (s *side) settleNodes() error {
	given := len(s.nodes)+len(s.ranges) > 0
	switch {
	case !s.Address.IsValid() && s.Interface != "" || s.Address.IsLinkLocalUnicast() && s.Address.Is6():
		return Error{fmt.Sprintf("peer %s: the session is between link-local addresses, so what the router needs depends on its ports: see docs/configuration.md, interface", s.Name)}
	case s.Passive && (!given || len(s.ranges) > 0):
		return Error{fmt.Sprintf("peer %s: it is passive, so the router opens the sessions and must know each node; add their addresses, such as --nodes 10.0.0.11,10.0.0.12", s.Name)}
	case given:
	case s.Address.IsValid():
		bits := 24
		if s.Address.Is6() {
			bits = 64
		}
		s.ranges, s.assumed = []netip.Prefix{netip.PrefixFrom(s.Address, bits).Masked()}, true
	default:
		return Error{fmt.Sprintf("peer %s: the configuration does not tell where its nodes are; add --nodes, such as --nodes 10.0.0.0/24", s.Name)}
	}
	return nil
}

// ownASNs are the AS numbers that nodes may have towards the peer.
func ownASNs(c *config.Config, p config.Peer) []uint32 {
	if p.LocalASN != 0 {
		return []uint32{p.LocalASN}
	}
	list := []uint32{c.BGP.ASN}
	for _, o := range c.BGP.Overrides {
		if o.ASN != 0 && !slices.Contains(list, o.ASN) {
			list = append(list, o.ASN)
		}
	}
	return list
}

// communities are those of the peer and its overrides: a router may have nodes of
// both kinds.
func communities(p config.Peer) (list []config.CommunityWeights) {
	for _, v := range append([]config.Peer{p}, p.Overrides...) {
		if v.Weights.Has(config.EncodeCommunity) && !slices.Contains(list, v.Community) {
			list = append(list, v.Community)
		}
	}
	return list
}

// allowed are the prefixes that may be announced to the peer.
func allowed(c *config.Config, p config.Peer) (list []allowance) {
	advertisements := c.Advertisements
	if len(advertisements) == 0 {
		advertisements = []config.Advertisement{{AggregationLength: 32, AggregationLengthV6: 128}}
	}
	for _, f := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		for _, pool := range c.Pools {
			least := 0
			for _, a := range advertisements {
				if !pool.BGP || len(a.Pools) > 0 && !slices.Contains(a.Pools, pool.Name) || len(a.Peers) > 0 && !slices.Contains(a.Peers, p.Name) {
					continue
				}
				length := a.AggregationLength
				if f == cluster.IPv6 {
					length = a.AggregationLengthV6
				}
				if least == 0 || length < least {
					least = length
				}
			}
			if least == 0 {
				continue
			}
			for _, prefix := range pool.Prefixes(f) {
				list = append(list, allowance{prefix, least})
			}
		}
	}
	return list
}

// of are those of one family.
func of(list []allowance, f cluster.Family) []allowance {
	return slices.DeleteFunc(slices.Clone(list), func(a allowance) bool { return cluster.FamilyOf(a.Addr()) != f })
}

// families are those that the peer gets routes of.
func (s side) families() (list []cluster.Family) {
	for _, f := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		if len(of(s.allowed, f)) > 0 {
			list = append(list, f)
		}
	}
	return list
}

// width is how many next hops the router should install for a prefix.
func (s side) width() int {
	if s.Weights == config.EncodeAddPath {
		return s.AddPath.Width
	}
	return max(64, len(s.nodes))
}

func (s side) heading() string {
	router := ""
	if s.Address.IsValid() {
		router = ", " + s.Address.String()
	}
	return "The router's side of " + s.where + router + ", as heraldctl router prints it."
}

// notes hold for all kinds of routers.
func (s side) notes() (list []string) {
	if s.assumed {
		list = append(list, fmt.Sprintf("Assumed: the nodes are in %s, the network of the router's own address; --nodes says better.", s.ranges[0]))
	}
	if s.Weights == config.EncodeNone {
		list = append(list, fmt.Sprintf("Peer %s gets no weights (weights: none), so all nodes get the same share.", s.Name))
	}
	if len(s.allowed) == 0 {
		list = append(list, "Nothing is announced to this peer: no pool and advertisement is for it.")
	}
	return list
}

// hashing says how Linux spreads connections, and not only clients.
const hashing = "Linux must spread by ports as well: sysctl -w net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1"
