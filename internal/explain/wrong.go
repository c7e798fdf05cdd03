package explain

import (
	"time"

	"github.com/heraldlb/herald/speaker/plan"
)

// Wrong is what is not as it should be with one Service: its allocation, an address that
// no node announces, nodes that should announce one and do not, and what their speakers
// say is wrong with them. A drain is no fault. Without answers it is what the cluster
// alone tells.
func Wrong(in Saved, key string, answers []Answer, now time.Time) ([]Problem, error) {
	s, err := NewStatus(in, answers, "", true, now)
	if err != nil {
		return nil, err
	}
	var all []Problem
	for _, p := range s.Problems() {
		if p.Service == key {
			all = append(all, p)
		}
	}
	c, near, svc := about(in, key)
	if c == nil || !svc.Ours() || svc.Deleting {
		return all, nil
	}
	expected := map[string]bool{} // nodes of which something is
	for _, a := range svc.Ingress {
		served := false
		for _, n := range near.Nodes {
			for _, d := range plan.Compute(plan.Input{Self: n.Name, Config: c, Cluster: near, Gateways: gateways}).Decisions {
				if d.Service != key || d.Addr != a {
					continue
				}
				r := told(n.Name, d, answers)
				served = served || r.announces() || r.Claim && r.unknown == ""
				if !d.Announce && !d.Claim {
					continue
				}
				expected[n.Name] = true
				if p := r.fault(); p != "" {
					all = append(all, Problem{Node: n.Name, Service: key, Message: a.String() + ": " + p})
				}
			}
		}
		if !served {
			all = append(all, Problem{Service: key, Message: a.String() + ": no node announces it"})
		}
	}
	for _, a := range answers {
		if expected[a.Node] && a.Unknown == "" {
			a.State.Drains = ""
			for _, p := range s.ofNode(a) {
				all = append(all, Problem{Node: a.Node, Message: p})
			}
		}
	}
	return all, nil
}

// fault is why a node does not do what is expected of it; empty: it does, or it drains.
func (r row) fault() string {
	switch {
	case r.unknown != "":
		return "not known: " + r.unknown
	case r.Announce && r.sessions != "":
		return r.sessions
	case r.Announce, r.Claim, r.Reason == plan.NodeDraining, r.Reason == plan.SpeakerLeaving, r.Reason == plan.EndpointsTerminating:
		return ""
	default:
		return "it should announce it, and is silent: " + why(r.Decision)
	}
}
