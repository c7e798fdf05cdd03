package l2

import (
	"net/netip"
	"time"
)

// patrolEvery is in what time it is asked once for each address. Only tests set
// it.
var patrolEvery = 5 * time.Minute

// patrol asks for each address in its turn who else answers for it. A host that
// took the address without a word would not be found out otherwise.
type patrol struct {
	every time.Duration // each address is asked for once in this time
	last  time.Time
	owed  time.Duration // since the last question
	next  int           // the address whose turn it is
}

// turn returns those of the addresses that are due now.
func (p *patrol) turn(now time.Time, addrs []netip.Addr) (due []netip.Addr) {
	passed := now.Sub(p.last)
	if p.last.IsZero() || len(addrs) == 0 {
		passed = 0
	}
	p.last = now
	// After a long sleep no address is asked for twice.
	p.owed = min(p.owed+passed, p.every)
	for share := p.every / time.Duration(max(1, len(addrs))); p.owed >= share && len(due) < len(addrs); p.owed -= share {
		due = append(due, addrs[p.next%len(addrs)])
		p.next = (p.next + 1) % len(addrs)
	}
	return due
}
