package plan

import (
	"fmt"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Where every flow that a router moves is led back, weights need not wait.
const (
	quickInterval = 8 * time.Second
	quickDecrease = 5 * time.Second
)

// quickly is how changes of weight are damped then. What is configured to be
// quicker stays so.
func quickly(w config.Weights) config.Weights {
	w.Interval, w.DecreaseDelay = min(w.Interval, quickInterval), min(w.DecreaseDelay, quickDecrease)
	return w
}

// quick tells whether routers may move the flows to the address, and why not. All
// nodes come to the same answer: they know the same gossip.
//
//	its weights cannot change: Cluster, or one node -> that is no question
//	its pool has no flow rescue, or no gossip       -> no
//	a port that is not TCP                          -> no: its flows are not led back
//	a node that announces says that it does not     -> no
//	one that the gossip does not know               -> no: nobody knows what it does
func (a asked) quick(services []cluster.Service, announcers []NodeWeight) (ok bool, why string) {
	if a.pool == nil || !a.pool.BGP || !a.pool.Weights || len(announcers) < 2 || !a.local() {
		return false, ""
	}
	if !a.pool.FlowRescue {
		return false, "pool " + a.pool.Name + " has flowRescue: off"
	}
	if a.in.NoLayer2 || a.in.Alive == nil {
		return false, "flow rescue is off: the speakers have no gossip"
	}
	for _, s := range services {
		for _, p := range s.Ports {
			if p.Protocol != "TCP" {
				return false, fmt.Sprintf("port %d of %s is %s, whose flows are not rescued", p.Port, s.Key(), p.Protocol)
			}
		}
	}
	for _, n := range announcers {
		switch {
		case a.in.NotRescuing[n.Node]:
			return false, "flow rescue is off on node " + n.Node
		case !a.in.Alive[n.Node]:
			return false, "the gossip does not know node " + n.Node
		}
	}
	return true, ""
}
