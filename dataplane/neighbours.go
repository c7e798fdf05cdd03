package dataplane

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// Neighbour is where frames for an address of the same segment go.
type Neighbour struct {
	MAC  net.HardwareAddr
	Link string // this host's interface
}

const (
	// neighbourWithin is how long an address may take to be resolved.
	neighbourWithin = 300 * time.Millisecond
	neighbourPause  = 10 * time.Millisecond
	// resolved are the states in which the kernel has a MAC that it would use.
	resolved = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
)

// Neighbours finds the addresses that are on a segment of this host; link-local ones
// have their link as zone. Those behind a gateway, and those that do not answer, are
// missing in its answer.
func Neighbours(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]Neighbour, error) {
	links, err := onLink(addrs)
	if err != nil {
		return nil, err
	}
	found := map[netip.Addr]Neighbour{}
	poked := false
	for end := time.Now().Add(neighbourWithin); ; sleep(ctx, neighbourPause) {
		if err := lookUp(links, found); err != nil {
			return nil, err
		}
		if len(found) == len(links) || time.Now().After(end) || done(ctx) {
			return found, nil
		}
		if poked {
			continue
		}
		for a := range links {
			if _, known := found[a]; !known {
				pokeAddr(a)
			}
		}
		poked = true
	}
}

func done(ctx context.Context) bool { return ctx.Err() != nil }

// onLink are the interfaces of the addresses that need no gateway.
func onLink(addrs []netip.Addr) (map[netip.Addr]netlink.Link, error) {
	out := map[netip.Addr]netlink.Link{}
	for _, a := range addrs {
		if zone := a.Zone(); zone != "" {
			if l, err := netlink.LinkByName(zone); err == nil && l.Attrs().EncapType == "ether" {
				out[a] = l
			}
			continue
		}
		routes, err := netlink.RouteGet(a.AsSlice())
		if err != nil || len(routes) == 0 || routes[0].Gw != nil || routes[0].Via != nil {
			continue // unreachable, or in another subnet
		}
		l, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err != nil {
			return nil, fmt.Errorf("find the link to %s: %w", a, err)
		}
		if l.Attrs().EncapType == "ether" { // loopback has no neighbours
			out[a] = l
		}
	}
	return out, nil
}

func lookUp(links map[netip.Addr]netlink.Link, found map[netip.Addr]Neighbour) error {
	listed := map[int]bool{}
	for _, l := range links {
		if listed[l.Attrs().Index] {
			continue
		}
		listed[l.Attrs().Index] = true
		list, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list neighbours of %s: %w", l.Attrs().Name, err)
		}
		for _, n := range list {
			a, ok := netip.AddrFromSlice(n.IP)
			if a = a.Unmap(); a.Is6() && a.IsLinkLocalUnicast() && links[a] == nil {
				a = a.WithZone(l.Attrs().Name)
			}
			if ok && links[a] != nil && n.State&resolved != 0 && len(n.HardwareAddr) == 6 {
				found[a] = Neighbour{MAC: n.HardwareAddr, Link: l.Attrs().Name}
			}
		}
	}
	return nil
}

// pokeAddr has the kernel resolve an address, by a datagram that nobody waits for:
// port 9 is discard (RFC 863).
func pokeAddr(a netip.Addr) {
	c, err := net.Dial("udp", netip.AddrPortFrom(a, 9).String())
	if err == nil {
		_, _ = c.Write([]byte{0}) // an error would say that it cannot be resolved
		_ = c.Close()
	}
}

// BehindGateway tells whether an address is in another subnet: there is a route to
// it, by a gateway.
func BehindGateway(a netip.Addr) bool {
	routes, err := netlink.RouteGet(a.AsSlice())
	return err == nil && len(routes) > 0 && (routes[0].Gw != nil || routes[0].Via != nil)
}
