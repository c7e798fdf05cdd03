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
	routes   map[netip.Prefix]attributes
	withheld string // why routes of the table are missing in routes
}

// attributes are all that a route has besides its prefix. A field that is added
// here reaches the wire in path, and nothing else has to change.
type attributes struct {
	nextHop   netip.Addr // unspecified: the session's own address
	weight    uint32
	bandwidth config.LinkBandwidthForm
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
	addrs := map[netip.Addr]string{}
	for _, s := range t.Sessions {
		s.Address = s.Address.Unmap()
		if other, taken := addrs[s.Address]; taken {
			errs = append(errs, fmt.Errorf("peer %s: has the address of peer %s", s.Name, other))
			continue
		}
		addrs[s.Address] = s.Name
		want[s.Name] = &session{Session: s, routes: map[netip.Prefix]attributes{}}
	}
	for _, name := range addRoutes(want, t) {
		errs = append(errs, fmt.Errorf("peer %s: has routes but no session", name))
	}
	return want, errors.Join(errs...)
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
		hop := nextHop(s.Address, r.Prefix.Addr(), t.NextHops)
		if !hop.IsValid() {
			if missing[s.Name] == nil {
				missing[s.Name] = map[cluster.Family]int{}
			}
			missing[s.Name][cluster.FamilyOf(r.Prefix.Addr())]++
			continue
		}
		s.routes[r.Prefix.Masked()] = attributes{hop, max(r.Weight, 1), s.LinkBandwidth}
	}
	for name, families := range missing {
		for f, n := range families {
			want[name].withheld = fmt.Sprintf("%d %s routes not announced: this node has no %s address to be their next hop", n, f, f)
		}
	}
	return strangers
}

// nextHop is unspecified for a prefix of the session's own family: gobgp then
// fills in the address that the session has on this node. For the other family
// it is one that this node is known by, and invalid if there is none.
func nextHop(peer, prefix netip.Addr, own plan.NextHops) netip.Addr {
	switch {
	case peer.Is4() && prefix.Is4():
		return netip.IPv4Unspecified()
	case peer.Is6() && prefix.Is6():
		return netip.IPv6Unspecified()
	case prefix.Is4():
		return own.IPv4
	default:
		return own.IPv6
	}
}

// transport is the part of a session that cannot change while it is up.
func transport(s plan.Session) plan.Session {
	s.LinkBandwidth = ""
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
