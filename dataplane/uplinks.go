package dataplane

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// UplinkHints are what tells a link to the outside from one to this host's pods.
type UplinkHints struct {
	Peers []netip.Addr // routers that this host speaks to; one that is link-local has its link as zone
	Own   []netip.Addr // addresses of this host by which routers reach it
	Links []string     // known to lead to a router
}

// Uplinks names the links on which packets from other hosts come in: those that
// lead to a router, and all others that do not look like a pod's.
func Uplinks(ctx context.Context, h UplinkHints) ([]string, error) {
	links, err := list(ctx)
	if err != nil {
		return nil, err
	}
	toRouters := map[int]bool{}
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := defaults(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("uplinks: %w", err)
		}
		for _, r := range routes {
			toRouters[r.LinkIndex] = true
			for _, hop := range r.MultiPath {
				toRouters[hop.LinkIndex] = true
			}
		}
	}
	for _, a := range h.Peers {
		if a.Zone() != "" {
			h.Links = append(h.Links, a.Zone())
			continue
		}
		if routes, err := netlink.RouteGet(a.AsSlice()); err == nil && len(routes) > 0 {
			toRouters[routes[0].LinkIndex] = true
		}
	}
	return uplinks(links, h, toRouters), nil
}

// uplinks decides from what is known of the links.
func uplinks(links []Link, h UplinkHints, toRouters map[int]bool) (names []string) {
	for _, l := range links {
		near := toRouters[l.Index] || slices.Contains(h.Links, l.Name) || slices.ContainsFunc(h.Own, func(a netip.Addr) bool {
			return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() == a })
		})
		if !l.Loopback && (near || !l.isPods()) {
			names = append(names, l.Name)
		}
	}
	return names
}

// podKinds are those by which pods and virtual machines are connected, and what
// joins them.
var podKinds = []string{"veth", "bridge", "tuntap", "macvlan", "openvswitch"}

// isPods: what comes in there is more likely to come from this host's own pods.
func (l Link) isPods() bool { return l.isInternal() || slices.Contains(podKinds, l.Kind) }
