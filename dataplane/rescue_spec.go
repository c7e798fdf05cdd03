package dataplane

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// RescueMark is the bit of the packet mark that RescueSpec uses unless told
// otherwise. kube-proxy has 0x4000 and 0x8000, Calico and Cilium have the low 20
// bits and some of the bits from 20 to 23.
const RescueMark = 0x10000000

// RescueSpec is all that this node's tables depend on. The order of its lists does
// not matter.
type RescueSpec struct {
	Services []RescueService
	Peers    []RescuePeer
	Mark     uint32        // one bit that nobody else uses; zero: RescueMark
	Overlay  RescueOverlay // zero: there is none
}

// RescueService is a TCP port of an address that this node and its peers announce.
type RescueService struct {
	Addr netip.Addr
	Port uint16
}

// RescuePeer is another node that may ask for connections of the services. Of peers
// with one MAC the first by name counts: a node that was renamed.
type RescuePeer struct {
	Name       string
	IPv4, IPv6 netip.Addr       // next hops for copies; an invalid one: none are sent in this family
	MAC        net.HardwareAddr // the source of its frames, as this node sees them
	Link       string           // this host's interface on which it is reached
	Tunnel     netip.Addr       // where Link is the overlay's: from where its tunnel comes
	Ask        bool             // it may hold connections, and answers
	Gone       bool             // nothing of it is heard any more: no answer is waited for
}

// RescueOverlay names the device that an Overlay has made, so that nothing but
// peers' copies comes out of it.
type RescueOverlay struct {
	Link string
	Port uint16 // of UDP
}

var loopback4, loopback6 = netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()

func (s RescueSpec) mark() uint32 { return cmp.Or(s.Mark, RescueMark) }

// links are the interfaces that the tables name.
func (s RescueSpec) links() []string {
	var out []string
	for _, p := range s.Peers {
		out = append(out, p.Link)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// usable are the peers of one family, sorted, without those that cannot be told
// apart or not be reached.
func (s RescueSpec) usable(v6 bool, links map[string]int) []RescuePeer {
	peers := slices.DeleteFunc(slices.Clone(s.Peers), func(p RescuePeer) bool {
		return !p.hop(v6).IsValid() || len(p.MAC) != 6 || links[p.Link] == 0
	})
	slices.SortStableFunc(peers, func(a, b RescuePeer) int { return cmp.Compare(a.Name, b.Name) })
	seen := map[string]bool{}
	return slices.DeleteFunc(peers, func(p RescuePeer) bool {
		again := seen[p.MAC.String()]
		seen[p.MAC.String()] = true
		return again
	})
}

func (p RescuePeer) hop(v6 bool) netip.Addr {
	if v6 {
		return p.IPv6
	}
	return p.IPv4
}

// chain is the name of the peer's own chain: of its MAC, since names of nodes are
// not always names of chains.
func (p RescuePeer) chain() string {
	return "peer-" + strings.ReplaceAll(p.MAC.String(), ":", "")
}

// services are those of one family, sorted, each once.
func (s RescueSpec) services(v6 bool) []RescueService {
	out := slices.DeleteFunc(slices.Clone(s.Services), func(r RescueService) bool { return r.Addr.Is6() != v6 })
	slices.SortFunc(out, func(a, b RescueService) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(out)
}

// tunnels are the addresses of one family from which the overlay's datagrams may
// come.
func (s RescueSpec) tunnels(v6 bool) []netip.Addr {
	var out []netip.Addr
	for _, p := range s.Peers {
		if s.Overlay.Link != "" && p.Link == s.Overlay.Link && p.Tunnel.IsValid() && p.Tunnel.Is6() == v6 {
			out = append(out, p.Tunnel)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
