package config

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
)

// Size is how many addresses the range holds. What does not fit, from a whole
// IPv6 /64 on, counts as math.MaxUint64.
func (r Range) Size() uint64 {
	if r.From.Is4() {
		return uint64(number4(r.To)) - uint64(number4(r.From)) + 1
	}
	from, to := r.From.As16(), r.To.As16()
	low, borrow := bits.Sub64(binary.BigEndian.Uint64(to[8:]), binary.BigEndian.Uint64(from[8:]), 0)
	high, _ := bits.Sub64(binary.BigEndian.Uint64(to[:8]), binary.BigEndian.Uint64(from[:8]), borrow)
	if high > 0 || low == math.MaxUint64 {
		return math.MaxUint64
	}
	return low + 1
}

// Size is how many addresses of a family the pool can hand out; counted like
// Range.Size, without those that KeepsBack.
func (p Pool) Size(f cluster.Family) uint64 {
	var sum, carry uint64
	for _, r := range p.Ranges {
		if r.Family() != f {
			continue
		}
		n := r.Size()
		if n < math.MaxUint64 {
			n -= p.keptBackIn(r)
		}
		if sum, carry = bits.Add64(sum, n, 0); carry > 0 {
			return math.MaxUint64
		}
	}
	return sum
}

// keptBackIn counts the addresses of one of the pool's ranges, of less than a /64, that
// KeepsBack.
func (p Pool) keptBackIn(r Range) (n uint64) {
	if p.AvoidBuggyIPs && r.From.Is4() {
		n = r.buggy()
	}
	anycasts := r.anycasts()
	if !p.L2 || r.From.Is4() {
		anycasts = nil
	}
	n += uint64(len(anycasts))
	for _, x := range p.Reserved {
		if !r.Contains(x.From) {
			continue
		}
		n += x.Size()
		if p.AvoidBuggyIPs && x.From.Is4() {
			n -= x.buggy() // they have been counted
		}
		for _, a := range anycasts {
			if x.Contains(a) {
				n--
			}
		}
	}
	return n
}

// Insert adds an address to sorted ranges, and joins it to those that it is next to.
func Insert(ranges []Range, a netip.Addr) []Range {
	all := append(slices.Clone(ranges), Range{a, a})
	slices.SortFunc(all, compareRanges)
	joined := all[:1]
	for _, r := range all[1:] {
		last := &joined[len(joined)-1]
		switch {
		case last.Contains(r.From) || last.To.Next() == r.From && r.From.Is4() == last.To.Is4():
			if last.To.Less(r.To) {
				last.To = r.To
			}
		default:
			joined = append(joined, r)
		}
	}
	return joined
}

// Usable tells whether the pool may hand out an address.
func (p Pool) Usable(a netip.Addr) bool {
	return anyContains(p.Ranges, a) && !p.KeepsBack(a)
}

// KeepsBack tells whether an address of the pool is only for those who ask for it.
func (p Pool) KeepsBack(a netip.Addr) bool {
	switch {
	case anyContains(p.Reserved, a):
		return true
	case a.Is4():
		return p.AvoidBuggyIPs && isBuggy(a)
	default:
		return p.L2 && p.isAnycast(a)
	}
}

// isAnycast tells whether an address may be that which every router of the subnet
// answers for (RFC 4291 section 2.6.1): the first one of the subnet's prefix. How
// long that is nobody knows here. It is 64 bits (section 2.5.1), or maybe as long
// as a range's.
func (p Pool) isAnycast(a netip.Addr) bool {
	for _, r := range p.Ranges {
		if r.Contains(a) {
			return isSubnet64(a) || a == r.From && r.isSubnet()
		}
	}
	return false
}

func isSubnet64(a netip.Addr) bool {
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:]) == 0
}

// isSubnet tells whether the range is one prefix that can be a subnet with a
// router's anycast address; those of 127 bits have none (RFC 6164).
func (r Range) isSubnet() bool {
	p, ok := r.prefix()
	return ok && p.Bits() < 127
}

// anycasts are the addresses of an IPv6 range, of less than a /64, that may be a
// router's.
func (r Range) anycasts() (all []netip.Addr) {
	if r.From.Is4() {
		return nil
	}
	if isSubnet64(r.From) || r.isSubnet() {
		all = append(all, r.From)
	}
	from, to := r.From.As16(), r.To.As16()
	if [8]byte(from[:8]) != [8]byte(to[:8]) { // it reaches into the next /64
		clear(to[8:])
		all = append(all, netip.AddrFrom16(to))
	}
	return all
}

// Addrs is every address of a family that the pool may hand out, ascending. An
// IPv6 pool has more than anybody can visit: stop early.
func (p Pool) Addrs(f cluster.Family) func(yield func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		for _, r := range p.Ranges {
			if r.Family() != f {
				continue
			}
			for a := r.From; r.Contains(a); a = a.Next() {
				if p.KeepsBack(a) {
					continue
				}
				if !yield(a) {
					return
				}
			}
		}
	}
}

// isBuggy tells whether equipment with classful ideas may drop an address,
// because it takes it for the address of a network or for a broadcast.
func isBuggy(a netip.Addr) bool {
	return a.Is4() && (a.As4()[3] == 0 || a.As4()[3] == 255)
}

// buggy counts the addresses of an IPv4 range that isBuggy.
func (r Range) buggy() uint64 {
	from, to := uint64(number4(r.From)), uint64(number4(r.To))
	below := func(n uint64) uint64 { return (n+255)/256 + n/256 } // of the addresses under n: .0s and .255s
	return below(to+1) - below(from)
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}
