package main

import (
	"bytes"
	"net"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/dataplane"
)

const (
	// macsTag begins what a speaker tells of itself: the MACs of its links follow.
	macsTag = 1
	macSize = 6
)

// encodeMACs drops what does not fit: a node whose link is not known counts as a
// stranger where two answer for one address, and nothing worse.
func encodeMACs(macs []net.HardwareAddr, limit int) []byte {
	b := []byte{macsTag}
	for _, m := range macs {
		if len(b)+macSize <= limit {
			b = append(b, m...)
		}
	}
	return b
}

// hasMAC reads what encodeMACs wrote. What a speaker of another version says is
// passed over.
func hasMAC(meta []byte, mac net.HardwareAddr) bool {
	if len(meta) == 0 || meta[0] != macsTag {
		return false
	}
	for m := range slices.Chunk(meta[1:], macSize) {
		if bytes.Equal(m, mac) {
			return true
		}
	}
	return false
}

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
