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

	// Every address before next in ranges[at:] is in use, kept back or in quarantine,
	// but for those in gaps, which have been freed since.
	at   int
	next netip.Addr // invalid: the start of the range
	gaps []netip.Addr

	quarantined []netip.Addr        // the one that was left first in front
	inside      map[netip.Addr]bool // those, and the gaps of a pool that has a quarantine
}

func newShelf(p *config.Pool, f cluster.Family, uses map[netip.Addr]*use) *shelf {
	return &shelf{pool: p, family: f, uses: uses, inside: map[netip.Addr]bool{}}
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
	if s.pool.Quarantine > 0 {
		s.inside[a] = true
	}
	if i, found := slices.BinarySearchFunc(s.gaps, a, netip.Addr.Compare); !found {
		s.gaps = slices.Insert(s.gaps, i, a)
	}
}

// quarantine keeps an address for when there is no other.
func (s *shelf) quarantine(a netip.Addr) {
	if s.keepsBack(a) {
		return
	}
	s.quarantined, s.inside[a] = append(s.quarantined, a), true
}

// free is the lowest address that is neither in use nor kept back, or the zero
// Addr. One in quarantine, or that would be from now on, is only for who takes that.
func (s *shelf) free(quarantined bool) netip.Addr {
	gap := s.firstUnused(&s.gaps)
	a := s.lowestAhead()
	switch {
	case s.pool.Quarantine == 0 && gap.IsValid() && (!a.IsValid() || gap.Less(a)):
		return gap
	case a.IsValid() || !quarantined:
		return a
	}
	if a = s.firstUnused(&s.quarantined); a.IsValid() {
		return a
	}
	return gap
}

// firstUnused drops the addresses in front that somebody uses now.
func (s *shelf) firstUnused(addrs *[]netip.Addr) netip.Addr {
	for ; len(*addrs) > 0; *addrs = (*addrs)[1:] {
		if a := (*addrs)[0]; s.uses[a] == nil {
			return a
		}
	}
	return netip.Addr{}
}

func (s *shelf) lowestAhead() netip.Addr {
	for ; s.at < len(s.ranges); s.at, s.next = s.at+1, (netip.Addr{}) {
		r := s.ranges[s.at]
		if !s.next.IsValid() {
			s.next = r.From
		}
		for ; r.Contains(s.next); s.next = s.next.Next() {
			if s.uses[s.next] == nil && !s.keepsBack(s.next) && !s.inside[s.next] {
				return s.next
			}
		}
	}
	return netip.Addr{}
}

// keepsBack tells whether an address of the shelf is only for those who ask for
// it, or for those who have it.
func (s *shelf) keepsBack(a netip.Addr) bool { return s.pool.KeepsBack(a) || s.pool.IsRetired(a) }
