package members

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// State is what the gossip knows, for people and for metrics. It decides
// nothing.
type State struct {
	Running   bool
	Problem   string // why this node takes no part; empty: it does, or will soon
	Encrypted bool
	Self      string
	Advertise netip.AddrPort
	Health    int // 0: well; more: this node is too slow to judge others
	Members   []Member
	Lost      []Lost
	Deaths    uint64                // members that failed; those who left do not count
	Rumours   uint64                // deaths that were none: the dead contradicted
	Rejected  map[netip.Addr]uint64 // messages dropped, by sender
}

// Member is another node that is alive.
type Member struct {
	Node    string
	Address netip.AddrPort
	Since   time.Time
	Doubted bool // said to be dead; we are asking
}

// Lost is a node that failed and is looked for.
type Lost struct {
	Node    string
	Address netip.AddrPort
}

// State returns a copy.
func (m *Members) State() State {
	s := m.roster.state()
	s.Encrypted = len(m.o.Key) > 0
	s.Advertise = m.o.Advertise
	s.Rejected = m.bridge.rejects()
	if list := m.list.Load(); list != nil {
		s.Running, s.Health = true, list.GetHealthScore()
	}
	return s
}

func (r *roster) state() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := State{Self: r.self, Deaths: r.deaths, Rumours: r.rumours}
	for name, m := range r.members {
		s.Members = append(s.Members, Member{Node: name, Address: m.addr, Since: m.since, Doubted: m.doubted})
	}
	for name, addr := range r.lost {
		s.Lost = append(s.Lost, Lost{Node: name, Address: addr})
	}
	slices.SortFunc(s.Members, func(a, b Member) int { return strings.Compare(a.Node, b.Node) })
	slices.SortFunc(s.Lost, func(a, b Lost) int { return strings.Compare(a.Node, b.Node) })
	return s
}
