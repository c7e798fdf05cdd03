package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// session is what one peer shall get.
type session struct {
	plan.Session
	routes   map[pathName]attributes
	withheld string // why routes of the table are missing in routes
}

// pathName names a path. The id tells the paths of one prefix apart (RFC 7911); it
// is 0 where there is only one.
type pathName struct {
	prefix netip.Prefix
	id     uint32
}

// attributes are all that a path has besides its name. A field that is added
// here reaches the wire in path, and nothing else has to change.
type attributes struct {
	nextHop   netip.Addr // unspecified: the session's own address
	asn       uint32     // ours on this session
	internal  bool       // iBGP
	weight    uint32
	encodings config.Encodings
	bandwidth config.LinkBandwidthForm
	community config.CommunityWeights
	draining  bool
	pods      bool // a prefix of pods
	more      *config.Attributes
}

func (a attributes) equal(b attributes) bool {
	same := a.more.Equal(b.more)
	a.more, b.more = nil, nil
	return same && a == b
}

// check refuses a table that asks for sessions and cannot have any.
func check(t plan.Table) error {
	switch {
	case len(t.Sessions) == 0:
		return nil
	case t.ASN == 0:
		return errors.New("bgp: the table has peers but no AS number of our own")
	default:
		return nil
	}
}

// desired sorts the table by peer. What makes no sense is in the error and left
// out of the sessions.
func desired(t plan.Table) (map[string]*session, error) {
	want := map[string]*session{}
	var errs []error
	neighbors := map[string]string{}
	for _, s := range t.Sessions {
		s = normal(s, t.ASN)
		if other, taken := neighbors[neighborOf(s)]; taken {
			errs = append(errs, fmt.Errorf("peer %s: has the address of peer %s", s.Name, other))
			continue
		}
		neighbors[neighborOf(s)] = s.Name
		want[s.Name] = &session{Session: s, routes: map[pathName]attributes{}}
	}
	for _, name := range addRoutes(want, t) {
		errs = append(errs, fmt.Errorf("peer %s: has routes but no session", name))
	}
	return want, errors.Join(errs...)
}

// normal fills in what a session leaves to be understood.
func normal(s plan.Session, asn uint32) plan.Session {
	s.Address = s.Address.Unmap()
	if s.Address.IsLinkLocalUnicast() && s.Address.Is6() && s.Address.Zone() == "" {
		s.Address = s.Address.WithZone(s.Interface)
	}
	if s.LocalASN == 0 {
		s.LocalASN = asn
	}
	s.Passive = s.Passive || s.Range.IsValid()
	s.Internal = s.ASN == s.LocalASN
	if s.Weights == 0 {
		s.Weights = config.EncodeLinkBandwidth
	}
	if s.Weights == config.EncodeAddPath {
		// FRR 8 looks at one path of a prefix when it deletes what is stale, and so
		// keeps others for ever.
		s.RestartTime = 0
	}
	return s
}

// neighborOf is what no two sessions of a node can have in common.
func neighborOf(s plan.Session) string {
	switch {
	case s.Address.IsValid():
		return s.Address.String()
	case s.Range.IsValid():
		return s.Range.Masked().String()
	default:
		return s.Interface
	}
}

// addRoutes gives each session its routes, and returns the peers without one.
func addRoutes(want map[string]*session, t plan.Table) []string {
	var strangers []string
	missing := map[string]map[cluster.Family]int{}
	for _, r := range t.Routes {
		s := want[r.Peer]
		if s == nil {
			if n := len(strangers); n == 0 || strangers[n-1] != r.Peer {
				strangers = append(strangers, r.Peer)
			}
			continue
		}
		if !s.add(r, t.NextHops) {
			if missing[s.Name] == nil {
				missing[s.Name] = map[cluster.Family]int{}
			}
			missing[s.Name][cluster.FamilyOf(r.Prefix.Addr())]++
		}
	}
	for name, families := range missing {
		for f, n := range families {
			want[name].withheld = fmt.Sprintf("%d %s routes not announced: this node has no %s address to be their next hop", n, f, f)
		}
	}
	return strangers
}

// add adds the paths of a route, unless there is no next hop for it.
func (s *session) add(r plan.Route, own plan.NextHops) bool {
	name := pathName{prefix: r.Prefix.Masked()}
	a := attributes{
		asn: s.LocalASN, internal: s.Internal, weight: max(r.Weight, 1), encodings: s.Weights,
		bandwidth: s.LinkBandwidth, community: s.Community, draining: r.Draining, pods: r.Pods, more: r.Attributes,
	}
	if r.Pods {
		a.encodings = 0 // one node alone has it
	}
	if s.Weights == config.EncodeAddPath {
		for i, hop := range r.NextHops {
			name.id, a.nextHop = uint32(i+1), hop
			s.routes[name] = a
		}
		return len(r.NextHops) > 0
	}
	if a.nextHop = nextHop(s.Session, r.Prefix.Addr(), own); a.nextHop.IsValid() {
		s.routes[name] = a
	}
	return a.nextHop.IsValid()
}

// nextHop is unspecified where gobgp shall fill in the address that the session
// has on this node. That goes for prefixes of the session's own family, and over
// a link-local session for both: nobody knows whether the router has a route to
// any other address of this node (RFC 8950). For the other family it is one that
// this node is known by, and invalid if there is none.
func nextHop(s plan.Session, prefix netip.Addr, own plan.NextHops) netip.Addr {
	unspecified := netip.IPv6Unspecified()
	if prefix.Is4() {
		unspecified = netip.IPv4Unspecified()
	}
	peer := s.Address
	if s.Range.IsValid() {
		peer = s.Range.Addr()
	}
	switch {
	case !peer.IsValid(), peer.Is6() && peer.IsLinkLocalUnicast(), peer.Is4() == prefix.Is4():
		return unspecified
	case prefix.Is4():
		return own.IPv4
	default:
		return own.IPv6
	}
}

// transport is the part of a session that cannot change while it is up.
func transport(s plan.Session) plan.Session {
	s.LinkBandwidth, s.Community, s.BFD, s.Paths = "", config.CommunityWeights{}, plan.BFD{}, 0
	if s.Weights != config.EncodeAddPath {
		s.Weights = 0
	}
	return s
}

func sorted[S interface{ name() string }](m map[string]S) []S {
	list := make([]S, 0, len(m))
	for _, s := range m {
		list = append(list, s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name() < list[j].name() })
	return list
}

func (s *session) name() string { return s.Name }
