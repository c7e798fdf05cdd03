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
	left []Left // the one that was left first in front
}

// Left is an address that its last Service has left.
type Left struct {
	Address netip.Addr `json:"address"`
	Until   time.Time  `json:"until"` // it is in quarantine
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
	q.left = slices.DeleteFunc(q.left, func(l Left) bool { return q.seen[l.Address] == q.turn || !now.Before(l.Until) })
	var fresh []Left
	for a, turn := range q.seen {
		if turn == q.turn {
			continue
		}
		delete(q.seen, a)
		if c == nil {
			continue
		}
		if p := c.PoolOf(a); p != nil && p.Quarantine > 0 {
			fresh = append(fresh, Left{a, now.Add(p.Quarantine).Round(time.Second)})
		}
	}
	slices.SortFunc(fresh, func(x, y Left) int { return x.Address.Compare(y.Address) })
	q.left = append(q.left, fresh...)
	for _, l := range q.left {
		all = append(all, l.Address)
	}
	return all
}
