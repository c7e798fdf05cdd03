// A turn is one run of all that decides: facts go in, a table comes out, and a memory for
// the next turn. Read Turn first; then each stage, in its order: doubt.go, plan.go
// (Compute), drain.go, damp.go, fuse.go, handover.go, rescuememory.go.
package plan

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// Facts is all that a turn depends on, beside what earlier turns have left in the
// Memory. Input.Cluster is what the API server says, and Input.Announced is Turn's own.
type Facts struct {
	Input
	Now time.Time
	// LastAway is when the API server was found away last; the zero time: never.
	LastAway time.Time
}

// Memory is what earlier turns leave for the next one. The zero value remembers nothing.
type Memory struct {
	Doubts   Doubts
	Drains   DrainState
	Holds    Holds
	Fuse     FuseState
	Handover Handover
	Rescue   RescueMemory

	Last       Table  // of the last turn; the zero Table: there was none
	ConfigHash string // of the configuration that it was made by
}

// Turn decides what one node must announce now, and when time alone will change that
// (Table.Next). It is the only way from facts to a table that is announced. It changes
// neither argument.
func Turn(m Memory, f Facts) (Table, Memory) {
	if f.Config == nil {
		return Table{}, m
	}
	is := Memory{ConfigHash: f.Config.Hash()}
	var next [6]time.Time
	in := f.Input
	in.Cluster, is.Doubts, next[0] = m.believe(f)
	in.Announced = m.announced(in.Forwarding)
	t := Compute(in)
	t, is.Drains, next[1] = m.Drains.Drain(t, f.Config.Nodes.DrainTime, f.Now)
	t, is.Holds, next[2] = Damp(m.Holds, t, f.Config.BGP.Weights, f.Now)
	t, is.Fuse, next[3] = m.Fuse.Fuse(m.Last, t, in.Cluster, f.Config.Nodes.Fuse, m.explained(in, is.ConfigHash), f.Now)
	t, is.Handover, next[4] = m.Handover.HandOver(m.Last.Claims, t, in.Cluster.Services, f.Now)
	t, is.Rescue, next[5] = m.Rescue.Remember(t, in, f.Now)
	for _, at := range next {
		t.Next = earliestIn(t.Next, at)
	}
	is.Last = t
	return t, is
}

// Believed is the cluster as the next turn will take it to be.
func (m Memory) Believed(f Facts) cluster.Snapshot {
	s, _, _ := m.believe(f)
	return s
}

// believe takes the Services that are Herald's, and doubts what an outage of the API
// server may have made up.
func (m Memory) believe(f Facts) (cluster.Snapshot, Doubts, time.Time) {
	s := f.Cluster
	s.Services = f.Config.Scope.Own(s.Services)
	return m.Doubts.Doubt(s, f.LastAway, f.Now)
}

// announced is Input.Announced. Before the first turn it is what an earlier speaker on
// the same boot announced.
func (m Memory) announced(forwarding func(string, netip.Addr) Forwarded) func(string, netip.Addr) bool {
	if m.Last.Self == "" {
		return func(service string, a netip.Addr) bool { return forwarding != nil && forwarding(service, a).Kept }
	}
	var addrs map[netip.Addr]bool
	return func(_ string, a netip.Addr) bool {
		if addrs == nil {
			addrs = map[netip.Addr]bool{}
			for _, d := range m.Last.Decisions {
				if d.Announce || d.Claim {
					addrs[d.Addr] = true
				}
			}
		}
		return addrs[a]
	}
}

// explained tells whether somebody has told why much may be withdrawn at once: by a new
// configuration, or by the deletion of this Node.
func (m Memory) explained(in Input, hash string) bool {
	there := slices.ContainsFunc(in.Cluster.Nodes, func(n cluster.Node) bool { return n.Name == in.Self })
	return hash != m.ConfigHash || !there && !in.Cluster.Missing.Nodes[in.Self]
}
