package speaker

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/plan"
)

// Members is what the gossip knows.
type Members interface {
	// Alive are the nodes that are alive, this one among them. None at all while
	// the gossip has not found out yet.
	Alive() map[string]bool
	// NotRescuing are the nodes that say that they take no part in flow rescue.
	NotRescuing() map[string]bool
	// Wake has an element whenever the answers may have changed.
	Wake() <-chan struct{}
}

// Links are this host's network interfaces.
type Links interface {
	// Usable are the links that can carry an address, sorted.
	Usable(addr netip.Addr, include, exclude []string) []string
	// Wake has an element whenever the answers may have changed.
	Wake() <-chan struct{}
}

func (s *Speaker) membersWake() <-chan struct{} {
	if s.o.Members == nil {
		return nil
	}
	return s.o.Members.Wake()
}

func (s *Speaker) linksWake() <-chan struct{} {
	if s.o.Links == nil {
		return nil
	}
	return s.o.Links.Wake()
}

// look asks who is alive, and tells whether somebody has joined those who were.
func (s *Speaker) look() (joined bool) {
	if s.o.Members == nil {
		return false
	}
	before := s.alive
	s.alive = s.o.Members.Alive()
	for node := range s.alive {
		joined = joined || len(before) > 0 && !before[node]
	}
	return joined
}

// facts are what the next turn depends on.
func (s *Speaker) facts(snapshot cluster.Snapshot, now time.Time) plan.Facts {
	f := plan.Facts{Now: now, LastAway: s.o.Source.LastAway(), Input: plan.Input{
		Self: s.o.Node, Config: s.config, Cluster: snapshot, Alive: s.alive, NoLayer2: s.o.Members == nil,
		Forwarding: s.forwards, Leaving: s.leaving.asked(),
	}}
	if s.o.Forwarding != nil {
		f.Able = s.o.Forwarding.Able
	}
	if s.o.Members != nil {
		f.NotRescuing = s.o.Members.NotRescuing()
	}
	if s.o.Links != nil {
		f.Links = s.o.Links.Usable
	}
	if s.o.Gateways != nil {
		f.Gateways = s.o.Gateways.Gateways()
	}
	return f
}

// logClaims says which addresses the new table answers for anew, or no more.
func (s *Speaker) logClaims(t plan.Table) {
	gone := map[netip.Addr]bool{}
	for _, c := range s.applied.Claims {
		gone[c.Addr] = true
	}
	for _, c := range t.Claims {
		if !gone[c.Addr] {
			s.o.Log.Info("address claimed", "address", c.Addr, "links", c.Links)
		}
		delete(gone, c.Addr)
	}
	for a := range gone {
		s.o.Log.Info("address released", "address", a)
	}
}

// tell says which addresses this node has begun to answer for, and why.
func (s *Speaker) tell(before []plan.Claim, t plan.Table, services []cluster.Service) {
	owners := make(map[netip.Addr]string, len(t.Claims))
	claimed := map[netip.Addr]bool{}
	for _, c := range before {
		claimed[c.Addr] = true
	}
	for _, d := range t.Decisions {
		was := s.owners[d.Addr]
		owners[d.Addr] = cmp.Or(d.Owner, was)
		if d.Claim && !claimed[d.Addr] && s.o.Took != nil {
			if i, ok := slices.BinarySearchFunc(services, d.Service, compareKey); ok {
				s.o.Took(services[i], s.note(d, was))
			}
		}
	}
	s.owners = owners
}

func compareKey(s cluster.Service, key string) int { return cmp.Compare(s.Key(), key) }

func (s *Speaker) note(d plan.Decision, was string) string {
	switch {
	case was == "" || was == s.o.Node:
		return fmt.Sprintf("%s answers for %s", s.o.Node, d.Addr)
	case !s.alive[was]:
		return fmt.Sprintf("%s answers for %s, since %s is gone", s.o.Node, d.Addr, was)
	default:
		return fmt.Sprintf("%s answers for %s instead of %s, since the nodes that can serve it have changed", s.o.Node, d.Addr, was)
	}
}
