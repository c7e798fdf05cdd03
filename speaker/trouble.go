package speaker

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/plan"
)

// trouble is what keeps this node from serving an address as it should, although it
// is the one that has to.
type trouble struct {
	service string
	addr    netip.Addr
	reason  plan.Reason
}

// tellTroubles tells the Services of theirs, once.
func (s *Speaker) tellTroubles(t plan.Table, snapshot cluster.Snapshot) {
	s.askOthers(t, snapshot.Nodes)
	was := s.troubles
	s.troubles = map[trouble]bool{}
	for _, d := range t.Decisions {
		reason, note := s.troubleOf(d)
		if note == "" {
			continue
		}
		k := trouble{d.Service, d.Addr, reason}
		s.troubles[k] = true
		if i, ok := slices.BinarySearchFunc(snapshot.Services, d.Service, compareKey); ok && !was[k] && s.o.Trouble != nil {
			s.o.Trouble(snapshot.Services[i], reason, note)
		}
	}
}

func (s *Speaker) troubleOf(d plan.Decision) (r plan.Reason, note string) {
	switch {
	case d.Reason == plan.RulesOutdated:
		return d.Reason, fmt.Sprintf("%s does not serve %s as it should: %s", s.o.Node, d.Addr, d.Detail)
	case d.Layer2 == plan.NoUsableLink:
		return d.Layer2, fmt.Sprintf("%s owns %s at layer 2, but has no link that can carry it, so nobody answers for it: %s", s.o.Node, d.Addr, d.Layer2.Remedy())
	default:
		return "", ""
	}
}
