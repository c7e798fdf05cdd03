package assign

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// shelf is the addresses of one family of a pool. It costs memory only for those
// in use, since a single IPv6 range can be larger than any memory.
type shelf struct {
	pool   *config.Pool
	family cluster.Family
	ranges []config.Range // ascending

	uses     map[netip.Addr]*use // the ledger's
	used     uint64              // how many addresses of the shelf are in there
	usedBack uint64              // how many of those are kept back from who does not ask

	// Every address before next in ranges[at:] is in use or kept back, but for
	// those in gaps, which have been freed since.
	at   int
	next netip.Addr // invalid: the start of the range
	gaps []netip.Addr
}

// capacity counts an address that is kept back only while somebody who asked
// for it has it, so that a shelf is exhausted when all of its capacity is used.
func (s *shelf) capacity() uint64 { return s.pool.Size(s.family) + s.usedBack }

func (s *shelf) taken(a netip.Addr) {
	s.used++
	if s.keepsBack(a) {
		s.usedBack++
	}
}

func (s *shelf) freed(a netip.Addr) {
	s.used--
	if s.keepsBack(a) {
		s.usedBack--
		return
	}
	if i, found := slices.BinarySearchFunc(s.gaps, a, netip.Addr.Compare); !found {
		s.gaps = slices.Insert(s.gaps, i, a)
	}
}

// lowest is the lowest address that is neither in use nor kept back, or the
// zero Addr.
func (s *shelf) lowest() netip.Addr {
	for len(s.gaps) > 0 {
		if s.uses[s.gaps[0]] == nil {
			break
		}
		s.gaps = s.gaps[1:]
	}
	a := s.lowestAhead()
	if len(s.gaps) > 0 && (!a.IsValid() || s.gaps[0].Less(a)) {
		return s.gaps[0]
	}
	return a
}

func (s *shelf) lowestAhead() netip.Addr {
	for ; s.at < len(s.ranges); s.at, s.next = s.at+1, (netip.Addr{}) {
		r := s.ranges[s.at]
		if !s.next.IsValid() {
			s.next = r.From
		}
		for ; r.Contains(s.next); s.next = s.next.Next() {
			if s.uses[s.next] == nil && !s.keepsBack(s.next) {
				return s.next
			}
		}
	}
	return netip.Addr{}
}

// keepsBack tells whether an address of the shelf is only for those who ask for
// it, or for those who have it.
func (s *shelf) keepsBack(a netip.Addr) bool { return s.pool.KeepsBack(a) || s.pool.IsRetired(a) }
