package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// gateways tells the next hop of a node's default route; false: it has none.
type gateways func(cluster.Family) (netip.Addr, bool)

// anyGateway stands for those of other nodes, which only they know.
func anyGateway(f cluster.Family) (netip.Addr, bool) {
	if f == cluster.IPv4 {
		return netip.IPv4Unspecified(), true
	}
	return netip.IPv6Unspecified(), true
}

func ownGateways(m map[cluster.Family]netip.Addr) gateways {
	return func(f cluster.Family) (netip.Addr, bool) {
		a, ok := m[f]
		return a, ok && a.IsValid()
	}
}

// common is what all sessions of a node have in common.
func common(c *config.Config, n cluster.Node) (asn uint32, id netip.Addr) {
	asn, id = c.BGP.ASN, routerID(n)
	for _, o := range c.BGP.Overrides {
		if !o.NodeSelector.Matches(n.Labels) {
			continue
		}
		if o.RouterID.IsValid() {
			id = o.RouterID
		}
		return cmp.Or(o.ASN, asn), id
	}
	return asn, id
}

// sessionsOf are those of one node, and the peers that are meant for it but that
// it cannot have a session with.
func sessionsOf(c *config.Config, n cluster.Node, g gateways) ([]Session, []RefusedPeer) {
	var out []Session
	var refused []RefusedPeer
	asn, _ := common(c, n)
	taken := map[remote]string{}
	for _, p := range c.Peers {
		if !p.NodeSelector.Matches(n.Labels) {
			continue
		}
		s, problem := lookup{c, n, g}.session(overridden(p, n), asn)
		if other, twice := taken[remoteOf(s)]; problem == "" && twice {
			problem = fmt.Sprintf("%s is the neighbour of peer %s already; let nodeSelector keep one of the two from this node", remoteOf(s), other)
		}
		if problem != "" {
			refused = append(refused, RefusedPeer{Name: p.Name, Problem: problem})
			continue
		}
		taken[remoteOf(s)] = p.Name
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Session) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(refused, func(a, b RefusedPeer) int { return cmp.Compare(a.Name, b.Name) })
	return out, refused
}

// overridden is the peer as it is on one node.
func overridden(p config.Peer, n cluster.Node) config.Peer {
	for _, o := range p.Overrides {
		if o.NodeSelector.Matches(n.Labels) {
			o.Name = p.Name
			return o
		}
	}
	return p
}

// remote is who a session is with. Two sessions with one neighbour would be one
// connection.
type remote struct {
	addr netip.Addr
	from netip.Prefix
	link string
}

// remoteOf ignores the link of an address, unless it is link-local: it only says
// how to get there.
func remoteOf(s Session) remote {
	switch {
	case s.Range.IsValid():
		return remote{from: s.Range}
	case s.Address.IsLinkLocalUnicast() || !s.Address.IsValid():
		return remote{addr: s.Address, link: s.Interface}
	default:
		return remote{addr: s.Address}
	}
}

func (r remote) String() string {
	switch {
	case r.from.IsValid():
		return r.from.String()
	case r.addr.IsValid() && r.link != "":
		return r.addr.String() + "%" + r.link
	case r.addr.IsValid():
		return r.addr.String()
	default:
		return r.link
	}
}

// session is the peer's on this node, or what is in its way.
func (l lookup) session(p config.Peer, asn uint32) (Session, string) {
	s := Session{
		Name: p.Name, Range: p.AddressRange, Interface: p.Interface, LocalASN: p.LocalASN,
		Port: p.Port, Passive: p.Passive || p.AddressRange.IsValid(),
		EBGPMultihop: p.EBGPMultihop, TTLSecurity: p.TTLSecurity, PasswordKey: p.PasswordKey,
		HoldTime: p.HoldTime, KeepaliveTime: p.KeepaliveTime, ConnectRetryTime: p.ConnectRetryTime, RestartTime: p.RestartTime,
		Weights: p.Weights, LinkBandwidth: p.LinkBandwidth, Community: p.Community, Paths: paths(p),
	}
	for _, step := range []func(*Session, config.Peer) string{l.address, l.asn, l.source, l.bfd} {
		if problem := step(&s, p); problem != "" {
			return Session{}, problem
		}
	}
	s.Internal = !p.External && s.ASN == cmp.Or(s.LocalASN, asn)
	return s, ""
}

// paths is how many of a prefix the session must be able to carry: one for the
// node's own address and one for each alias, of the family that has more.
func paths(p config.Peer) uint8 {
	if p.Weights != config.EncodeAddPath {
		return 0
	}
	n := map[cluster.Family]int{}
	for _, x := range p.AddPath.Prefixes {
		n[cluster.FamilyOf(x.Addr())]++
	}
	return uint8(min(max(n[cluster.IPv4], n[cluster.IPv6])+1, 255))
}

func (l lookup) bfd(s *Session, p config.Peer) string {
	if p.BFDProfile == "" {
		return ""
	}
	for _, x := range l.config.BFDProfiles {
		if x.Name == p.BFDProfile {
			s.BFD = BFD{x.ReceiveInterval, x.TransmitInterval, x.DetectMultiplier, x.Strict}
			return ""
		}
	}
	if p.BFDProfile == "default" {
		s.BFD = BFD{ReceiveInterval: 300 * time.Millisecond, TransmitInterval: 300 * time.Millisecond, DetectMultiplier: 3}
		return ""
	}
	return fmt.Sprintf("there is no BFD profile %s; add it to bfdProfiles", p.BFDProfile)
}
