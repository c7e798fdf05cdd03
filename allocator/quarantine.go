package allocator

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// quarantine remembers which addresses have been left, and when. Who gets one right
// after another had it gets that one's guests as well: a client whose resolver still
// knows the name, and on each node the connections that conntrack remembers, which
// lead to pods that are gone.
type quarantine struct {
	seen map[netip.Addr]uint64 // addresses in use, and the turn in which they were last
	turn uint64
	left []leftAddr // the one that was left first in front
}

type leftAddr struct {
	addr  netip.Addr
	until time.Time // it is in quarantine
}

// look finds out what has been left since the last look, and returns what is in
// quarantine. An address is in use as long as anybody shows it, or is about to.
func (q *quarantine) look(c *config.Config, now time.Time, services ...[]cluster.Service) (all []netip.Addr) {
	if q.seen == nil {
		q.seen = map[netip.Addr]uint64{}
	}
	q.turn++
	for _, some := range services {
		for i := range some {
			for _, a := range some[i].Ingress {
				q.seen[a.Unmap()] = q.turn
			}
		}
	}
	q.left = slices.DeleteFunc(q.left, func(l leftAddr) bool { return q.seen[l.addr] == q.turn || !now.Before(l.until) })
	var fresh []leftAddr
	for a, turn := range q.seen {
		if turn == q.turn {
			continue
		}
		delete(q.seen, a)
		if c == nil {
			continue
		}
		if p := c.PoolOf(a); p != nil && p.Quarantine > 0 {
			fresh = append(fresh, leftAddr{a, now.Add(p.Quarantine)})
		}
	}
	slices.SortFunc(fresh, func(x, y leftAddr) int { return x.addr.Compare(y.addr) })
	q.left = append(q.left, fresh...)
	for _, l := range q.left {
		all = append(all, l.addr)
	}
	return all
}
