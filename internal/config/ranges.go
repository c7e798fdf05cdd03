package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
)

// rangeAt is a range and the place where it was written.
type rangeAt struct {
	Range
	spot
	pool string
}

// readRange reads a prefix or two addresses with a dash between them.
func (s spot) readRange() (Range, bool) {
	text, ok := s.text()
	if !ok {
		return Range{}, false
	}
	r, problem := parseRange(text)
	if block := reservedIn(r); problem == "" && block != "" {
		problem = "reaches into " + block + "; write a range outside of it"
	}
	if problem != "" {
		s.fault("%q: %s", text, problem)
		return Range{}, false
	}
	return r, true
}

// parseRange gives a range or the problem with it.
func parseRange(text string) (r Range, problem string) {
	if from, to, ok := strings.Cut(text, "-"); ok {
		return parseFromTo(strings.TrimSpace(from), strings.TrimSpace(to))
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return Range{}, notPrefix(text)
	case p.Addr().Is4In6():
		return Range{}, "IPv4 written as IPv6; write " + netip.PrefixFrom(p.Addr().Unmap(), max(0, p.Bits()-96)).Masked().String()
	case p != p.Masked():
		return Range{}, "has host bits; write " + p.Masked().String()
	}
	return Range{p.Addr(), lastOf(p)}, ""
}

// notPrefix finds what would have been a prefix.
func notPrefix(text string) string {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return "has no length; write " + netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()).String()
	}
	if strings.Contains(text, "%") {
		return "has a zone; pools hold no link-local addresses"
	}
	return "not a prefix such as 192.0.2.0/24"
}

func parseFromTo(from, to string) (Range, string) {
	f, err1 := netip.ParseAddr(from)
	t, err2 := netip.ParseAddr(to)
	switch {
	case err1 != nil || err2 != nil:
		return Range{}, "not a range such as 192.0.2.10-192.0.2.20"
	case f.Zone() != "" || t.Zone() != "":
		return Range{}, "has a zone; pools hold no link-local addresses"
	case f.Is4In6() || t.Is4In6():
		return Range{}, fmt.Sprintf("IPv4 written as IPv6; write %s-%s", f.Unmap(), t.Unmap())
	case f.BitLen() != t.BitLen():
		return Range{}, fmt.Sprintf("from %s to %s; write two addresses of one family", cluster.FamilyOf(f), cluster.FamilyOf(t))
	case t.Less(f):
		return Range{}, fmt.Sprintf("reversed; write %s-%s", t, f)
	}
	return Range{f, t}, ""
}

// special are the blocks that neither a Service nor a peer can have an address
// of; the first that matches is named.
var special = []struct {
	name   string
	prefix netip.Prefix
}{
	{"this network, RFC 1122", netip.MustParsePrefix("0.0.0.0/8")},
	{"loopback, RFC 1122", netip.MustParsePrefix("127.0.0.0/8")},
	{"link-local, RFC 3927", netip.MustParsePrefix("169.254.0.0/16")},
	{"multicast, RFC 5771", netip.MustParsePrefix("224.0.0.0/4")},
	{"limited broadcast, RFC 919", netip.MustParsePrefix("255.255.255.255/32")},
	{"unspecified, RFC 4291", netip.MustParsePrefix("::/128")},
	{"loopback, RFC 4291", netip.MustParsePrefix("::1/128")},
	{"IPv4-mapped, RFC 4291", netip.MustParsePrefix("::ffff:0:0/96")},
	{"link-local, RFC 4291", netip.MustParsePrefix("fe80::/10")},
	{"multicast, RFC 4291", netip.MustParsePrefix("ff00::/8")},
}

// reservedIn says which special block a range reaches into; empty: none.
func reservedIn(r Range) string {
	for _, s := range special {
		if r.overlaps(prefixRange(s.prefix)) {
			return fmt.Sprintf("%s (%s)", s.prefix, s.name)
		}
	}
	return ""
}

func (r Range) overlaps(o Range) bool {
	return r.From.BitLen() == o.From.BitLen() && r.From.Compare(o.To) <= 0 && o.From.Compare(r.To) <= 0
}

func prefixRange(p netip.Prefix) Range { return Range{p.Addr(), lastOf(p)} }

// lastOf is the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Prefixes are the fewest that together hold exactly the range's addresses.
func (r Range) Prefixes() (list []netip.Prefix) {
	for from := r.From; ; {
		p := netip.PrefixFrom(from, from.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(from, p.Bits()-1)
			if wider.Masked().Addr() != from || lastOf(wider).Compare(r.To) > 0 {
				break
			}
			p = wider
		}
		list = append(list, p)
		if lastOf(p) == r.To {
			return list
		}
		from = lastOf(p).Next()
	}
}

// Prefixes are the fewest that together hold exactly the pool's addresses of a
// family.
func (p Pool) Prefixes(f cluster.Family) (list []netip.Prefix) {
	for _, r := range merged(p.Ranges, f) {
		list = append(list, r.Prefixes()...)
	}
	return list
}

func compareRanges(a, b Range) int {
	return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To)) // netip orders IPv4 before IPv6
}

// refuseOverlaps complains of each range that shares addresses with another, at
// the one that comes later in the file.
func refuseOverlaps(ranges []rangeAt) {
	sorted := slices.Clone(ranges)
	slices.SortStableFunc(sorted, func(a, b rangeAt) int { return compareRanges(a.Range, b.Range) })
	for i := 1; i < len(sorted); i++ {
		// reach is the range so far that ends last: what overlaps any overlaps it.
		reach, next := sorted[i-1], sorted[i]
		if !reach.overlaps(next.Range) {
			continue
		}
		overlapFault(reach, next)
		if next.To.Less(reach.To) {
			sorted[i] = reach
		}
	}
}

func overlapFault(a, b rangeAt) {
	if a.after(b.spot) {
		a, b = b, a
	}
	whose := ""
	if a.pool != b.pool && a.pool != "" {
		whose = ", of pool " + a.pool
	}
	b.fault("%q: overlaps %s, %q%s", b.node.Value, a.path, a.node.Value, whose)
}
