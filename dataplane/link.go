// Package dataplane watches this host's links and addresses, and tells which
// links can carry an address at layer 2. What it changes on the host is its own:
// alias addresses, the nftables tables named herald, and a tunnel between nodes.
package dataplane

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is a network interface of this host. Holders must not change its slices.
type Link struct {
	Name       string
	Index      int // another one after the interface was made anew
	MAC        net.HardwareAddr
	MTU        int
	Kind       string // as iproute2 says: device, vlan, bond, bridge, dummy, veth and so on
	Master     string // what it is a port of; empty: nothing
	MasterKind string
	Active     string // ports by which the bonds below it send, or it does if it is one; empty: there are none
	Up         bool   // set up by the administrator
	Carrier    bool   // and able to send
	Loopback   bool
	Ethernet   bool           // has Ethernet frames and neighbours
	Prefixes   []netip.Prefix // addresses with their masks, sorted; the host bits are kept
}

func (l Link) equal(o Link) bool {
	return l.Name == o.Name && l.Index == o.Index && slices.Equal(l.MAC, o.MAC) && l.MTU == o.MTU &&
		l.Kind == o.Kind && l.Master == o.Master && l.MasterKind == o.MasterKind &&
		l.Active == o.Active && l.Up == o.Up && l.Carrier == o.Carrier && l.Loopback == o.Loopback && l.Ethernet == o.Ethernet &&
		slices.Equal(l.Prefixes, o.Prefixes)
}

// Equal tells whether two lists of links are the same.
func Equal(a, b []Link) bool { return slices.EqualFunc(a, b, Link.equal) }

// Changed names the links on which neighbours may not know us any more: those
// that are new or have another MAC, that came up, or that send by another port of
// a bond. That one leaves the bond itself as it was, but the switch still sends
// to the old port.
func Changed(before, now []Link) (names []string) {
	was := make(map[string]Link, len(before))
	for _, l := range before {
		was[l.Name] = l
	}
	for _, l := range now {
		w := was[l.Name]
		if w.Index != l.Index || w.Up != l.Up || w.Carrier != l.Carrier || w.Active != l.Active || !slices.Equal(w.MAC, l.MAC) {
			names = append(names, l.Name)
		}
	}
	return names
}

// convert makes our list of netlink's two.
func convert(links []netlink.Link, addrs []netlink.Addr) []Link {
	tower := towerOf(links)
	prefixes := make(map[int][]netip.Prefix)
	for _, a := range addrs {
		if p, ok := prefixOf(a); ok {
			prefixes[a.LinkIndex] = append(prefixes[a.LinkIndex], p)
		}
	}
	out := make([]Link, 0, len(links))
	for _, l := range links {
		link := linkOf(l)
		link.Active = tower.active(l)
		link.Prefixes = prefixes[link.Index]
		slices.SortFunc(link.Prefixes, netip.Prefix.Compare)
		if master, ok := tower.byIndex[l.Attrs().MasterIndex]; ok {
			link.Master, link.MasterKind = master.Attrs().Name, master.Type()
		}
		out = append(out, link)
	}
	slices.SortFunc(out, func(a, b Link) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Index, b.Index)) })
	return out
}

func linkOf(l netlink.Link) Link {
	a := l.Attrs()
	return Link{
		Name:     a.Name,
		Index:    a.Index,
		MAC:      a.HardwareAddr,
		MTU:      a.MTU,
		Kind:     l.Type(),
		Up:       a.RawFlags&unix.IFF_UP != 0,
		Carrier:  carrier(a),
		Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
		Ethernet: a.EncapType == "ether" && len(a.HardwareAddr) == 6,
	}
}

// carrier needs both flags: LOWER_UP is the cable, RUNNING is what stands above
// it, such as a bond without an active port or 802.1X.
func carrier(a *netlink.LinkAttrs) bool {
	const both = unix.IFF_RUNNING | unix.IFF_LOWER_UP
	return a.RawFlags&both == both
}

// prefixOf leaves out what cannot be used yet or any more: an address whose
// uniqueness is being checked, or that has turned out not to be unique.
func prefixOf(a netlink.Addr) (netip.Prefix, bool) {
	if a.IPNet == nil || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(a.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, _ := a.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones), true
}
