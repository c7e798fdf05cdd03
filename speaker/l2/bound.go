package l2

import (
	"fmt"
	"net"
	"net/netip"
)

// bound finds those of the addresses that an interface of this node has, and
// names it. There the kernel answers as well, and most likely on other nodes,
// too: kube-proxy in IPVS mode binds the addresses of all Services everywhere.
func bound(claimed map[netip.Addr]struct{}) (map[netip.Addr]string, error) {
	if len(claimed) == 0 {
		return nil, nil
	}
	// One dump tells in nearly all cases that there is nothing to look for.
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this node: %w", err)
	}
	if !overlap(all, claimed) {
		return nil, nil
	}
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the links of this node: %w", err)
	}
	out := map[netip.Addr]string{}
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil {
			continue // the link has gone
		}
		for _, a := range addrs {
			if ip := addrOf(a); has(claimed, ip) {
				out[ip] = l.Name
			}
		}
	}
	return out, nil
}

func overlap(addrs []net.Addr, claimed map[netip.Addr]struct{}) bool {
	for _, a := range addrs {
		if has(claimed, addrOf(a)) {
			return true
		}
	}
	return false
}

func has(set map[netip.Addr]struct{}, a netip.Addr) bool {
	_, ok := set[a]
	return ok
}

func addrOf(a net.Addr) netip.Addr {
	n, ok := a.(*net.IPNet)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(n.IP)
	return ip.Unmap()
}

// ownIPv6 is the address from which a link asks its neighbours: link-local where
// it has one, unspecified where it has no IPv6 address.
func ownIPv6(ifi *net.Interface, claimed func(netip.Addr) bool) netip.Addr {
	addrs, err := ifi.Addrs()
	if err != nil {
		return netip.IPv6Unspecified()
	}
	best := netip.IPv6Unspecified()
	for _, a := range addrs {
		ip := addrOf(a)
		if !ip.Is6() || claimed(ip) {
			continue
		}
		if ip.IsLinkLocalUnicast() {
			return ip
		}
		best = ip
	}
	return best
}
