package main

import (
	"bytes"
	"net"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/dataplane"
)

// macsOf are the MACs of the links on which this node can have neighbours, and
// of those that are in use. A node has a link for each pod: most are neither.
func macsOf(links []dataplane.Link, used []string) (macs []net.HardwareAddr) {
	for _, l := range links {
		if len(l.MAC) == macSize && (slices.Contains(used, l.Name) || hasNeighbours(l)) {
			macs = append(macs, l.MAC)
		}
	}
	slices.SortFunc(macs, compareMACs)
	return slices.CompactFunc(macs, func(a, b net.HardwareAddr) bool { return bytes.Equal(a, b) })
}

func compareMACs(a, b net.HardwareAddr) int { return bytes.Compare(a, b) }

func sameMACs(a, b []net.HardwareAddr) bool {
	return slices.EqualFunc(a, b, func(x, y net.HardwareAddr) bool { return bytes.Equal(x, y) })
}

func hasNeighbours(l dataplane.Link) bool {
	return l.Ethernet && slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool {
		return !p.IsSingleIP() && !p.Addr().IsLinkLocalUnicast()
	})
}
