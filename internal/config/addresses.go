package config

import (
	"net/netip"
	"strings"
)

func (s spot) peerAddress() netip.Addr { return s.hostAddress("of the peer") }

func (s spot) sourceAddress() netip.Addr { return s.hostAddress("of the node") }

// hostAddress reads an address that a host can have, also one that is valid on
// one link only.
func (s spot) hostAddress(whose string) netip.Addr {
	text, ok := s.text()
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	problem := ""
	switch {
	case err != nil:
		problem = "not an IP address such as 10.0.0.1 or 2001:db8::1"
	case a.Is4In6():
		problem = "IPv4 written as IPv6; write " + a.Unmap().String()
	case a.Zone() != "":
		problem = "has a zone; write " + a.WithZone("").String() + ", and interface: " + a.Zone()
	case reservedIn(Range{a, a}) != "" && !isLinkLocal(a):
		problem = "in " + reservedIn(Range{a, a}) + "; write an address " + whose
	}
	if problem != "" {
		s.fault("%q: %s", text, problem)
		return netip.Addr{}
	}
	return a
}

func isLinkLocal(a netip.Addr) bool { return a.IsValid() && a.IsLinkLocalUnicast() }

// prefix reads a prefix that hosts can be in, with a length within limits that
// depend on the family.
func (s spot) prefix(low, high4, high6 int) netip.Prefix {
	text, ok := s.text()
	if !ok {
		return netip.Prefix{}
	}
	r, problem := parseRange(text)
	p, err := netip.ParsePrefix(text)
	if block := reservedIn(r); problem == "" && block != "" {
		problem = "reaches into " + block + "; write a prefix outside of it"
	}
	if problem == "" && err != nil {
		problem = "not a prefix such as 192.0.2.0/24"
	}
	high := high4
	if problem == "" && p.Addr().Is6() {
		high = high6
	}
	if problem != "" {
		s.fault("%q: %s", text, problem)
		return netip.Prefix{}
	}
	if p.Bits() < low || p.Bits() > high {
		s.fault("%q: write a length from /%d to /%d", text, low, high)
		return netip.Prefix{}
	}
	return p
}

// peerRange reads from where peers may connect. Half of the Internet is no
// rack: whoever connects gets routes.
func (s spot) peerRange() netip.Prefix { return s.prefix(8, 32, 128) }

// interfaceName reads the name of one interface of Linux.
func (s spot) interfaceName() string {
	name, ok := s.text()
	if !ok {
		return ""
	}
	if !isInterfacePattern(name) || len(name) > 15 || strings.ContainsAny(name, "*?:%") || name == "." || name == ".." {
		s.fault("%q: write the name of one interface, such as eth0, of at most 15 characters", name)
		return ""
	}
	return name
}

// secretKey reads a key of a Secret. It is also the name of the file that the
// Secret is mounted as.
func (s spot) secretKey() string {
	key, ok := s.text()
	if !ok {
		return ""
	}
	const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	if len(key) > 253 || !madeOf(key, alnum, "") || key == "." || strings.HasPrefix(key, "..") {
		s.fault("%q: write a key of the Secret herald-bgp: letters, digits, dashes, dots and underscores", key)
		return ""
	}
	return key
}

// blockAt is what a peer needs for itself, and the place where it was written.
type blockAt struct {
	Range
	spot
}

// blocks pairs prefixes with the places where they were written. It is empty
// unless all of them were right.
func (s spot) blocks(prefixes []netip.Prefix) (blocks []blockAt) {
	at := child(s.node, "prefixes")
	if at == nil || len(at.Content) != len(prefixes) {
		return nil
	}
	for i, p := range prefixes {
		item := spot{at.Content[i], join(s.path, "prefixes") + index(i), s.faults}
		blocks = append(blocks, blockAt{prefixRange(p), item})
	}
	return blocks
}

// refuseInside complains of what a peer needs and a Service could get.
func (r *peerReader) refuseInside(ranges []rangeAt) {
	for _, b := range r.blocks {
		for _, x := range ranges {
			switch {
			case !b.overlaps(x.Range):
			case b.From == b.To:
				b.fault("%q: is in %s, %q, and could be handed out; take it out of the pool", b.node.Value, x.path, x.node.Value)
			default:
				b.fault("%q: overlaps %s, %q, which Services get; write another prefix, or take it out of the pool", b.node.Value, x.path, x.node.Value)
			}
		}
	}
}
