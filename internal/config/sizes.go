package config

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

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
// Range.Size, without those that AvoidBuggyIPs leaves out.
func (p Pool) Size(f cluster.Family) uint64 {
	var sum, carry uint64
	for _, r := range p.Ranges {
		if r.Family() != f {
			continue
		}
		n := r.Size()
		if p.AvoidBuggyIPs && f == cluster.IPv4 {
			n -= r.buggy()
		}
		if sum, carry = bits.Add64(sum, n, 0); carry > 0 {
			return math.MaxUint64
		}
	}
	return sum
}

// Usable tells whether the pool may hand out an address.
func (p Pool) Usable(a netip.Addr) bool {
	return p.Contains(a) && (!p.AvoidBuggyIPs || !isBuggy(a))
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
				if p.AvoidBuggyIPs && isBuggy(a) {
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
