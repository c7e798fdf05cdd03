package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// reach is where one Service can be served.
type reach struct {
	key     string
	local   bool              // only on the nodes in weights
	live    bool              // it has an endpoint to serve with
	weights map[string]uint32 // of a Local Service: endpoints per node
}

func (r reach) at(node string) bool { return !r.local || r.weights[node] > 0 }

// asked is what the decisions about one address have in common.
type asked struct {
	in      Input
	nodes   nodes
	pool    *config.Pool // nil: the address is in none
	addr    netip.Addr
	family  cluster.Family
	reaches []reach // of the Services that share the address
}

// decide is the decision about one address for each Service that shares it, and
// the claim to it at layer 2; nil: there is none.
func (a asked) decide(services []cluster.Service) ([]Decision, *Claim) {
	for _, s := range services {
		a.reaches = append(a.reaches, reachOf(s, a.family, a.nodes))
	}
	announcers := announcersOf(a.pool, a.nodes, a.reaches)
	l2 := a.layer2(announcers)
	if !a.byBGP() && a.atLayer2() {
		announcers = l2.announcers()
	}
	out := make([]Decision, 0, len(services))
	var claim *Claim
	for i, s := range services {
		d := Decision{Service: s.Key(), Addr: a.addr, Owner: l2.owner, Nodes: announcers}
		if a.pool != nil {
			d.Pool = a.pool.Name
		}
		d.Reason, d.Detail = a.reason(s, a.reaches[i])
		if d.Reason == Announced {
			a.announce(&d, l2)
		}
		if d.Claim {
			claim = &Claim{Addr: a.addr, Links: l2.links}
		}
		out = append(out, d)
	}
	return out, claim
}

// reachOf counts the endpoints of one family that a Service can be served with.
//
//	ready endpoints somewhere      -> the nodes that have them, one each
//	none ready, some terminating   -> the nodes that serve while they terminate:
//	                                  kube-proxy sends to those only then (KEP-1669)
//	neither                        -> nowhere
//
// A node whose endpoints all terminate thus leaves at once while another node
// has a ready one: what still comes to it would be lost when its last pod ends.
func reachOf(s cluster.Service, f cluster.Family, n nodes) reach {
	r := reach{key: s.Key(), local: s.LocalOnly}
	ready, serving := map[string]uint32{}, map[string]uint32{}
	for _, e := range s.Endpoints {
		if cluster.FamilyOf(e.Addr) != f {
			continue
		}
		if s.LocalOnly {
			if _, ok := n.may(e.Node); !ok {
				continue
			}
		}
		switch {
		case e.Ready:
			ready[e.Node]++
		case e.Serving && e.Terminating:
			serving[e.Node]++
		}
	}
	r.weights = ready
	if len(ready) == 0 {
		r.weights = serving
	}
	r.live = len(r.weights) > 0
	return r
}

// announcersOf are the nodes that can serve every live Service of an address. A
// Service without any endpoint does not take the others down with it.
func announcersOf(pool *config.Pool, n nodes, reaches []reach) []NodeWeight {
	live := slices.DeleteFunc(slices.Clone(reaches), func(r reach) bool { return !r.live })
	if pool == nil || len(live) == 0 {
		return nil
	}
	local := slices.DeleteFunc(slices.Clone(live), func(r reach) bool { return !r.local })
	if len(local) == 0 {
		return n.all
	}
	var out []NodeWeight
	for name := range local[0].weights {
		w, ok := uint32(0), true
		for _, r := range local {
			w, ok = w+r.weights[name], ok && r.at(name)
		}
		if !ok {
			continue
		}
		if !pool.Weights {
			w = 1
		}
		out = append(out, NodeWeight{Node: name, Weight: w})
	}
	sortNodes(out)
	return out
}

func (a asked) reason(s cluster.Service, me reach) (Reason, string) {
	self := a.in.Self
	if a.pool == nil {
		return AddressNotInPool, ""
	}
	if r, ok := a.nodes.may(self); !ok {
		return r, ""
	}
	switch {
	case !me.live:
		return NoReadyEndpoint, summary(s, a.family)
	case !me.at(self):
		return NoReadyEndpointOnNode, elsewhere(s, self, me)
	}
	for _, other := range a.reaches {
		if other.live && !other.at(self) {
			return SharerNotServed, other.key + " has no ready endpoint on this node"
		}
	}
	if !a.byBGP() && !a.atLayer2() {
		return NoPeer, ""
	}
	return Announced, ""
}

// summary counts the endpoints of a Service that cannot be served.
func summary(s cluster.Service, f cluster.Family) string {
	if len(s.Endpoints) == 0 {
		return "the Service has no endpoints"
	}
	var barred []string
	for _, e := range s.Endpoints {
		if e.Ready && cluster.FamilyOf(e.Addr) == f {
			barred = append(barred, cmp.Or(e.Node, "no node"))
		}
	}
	if len(barred) > 0 {
		slices.Sort(barred)
		return "ready only on nodes that may not announce: " + strings.Join(firsts(slices.Compact(barred)), ", ")
	}
	return fmt.Sprintf("none of %d endpoints is ready for %s", len(s.Endpoints), f)
}

// elsewhere names what holds this node back, and where the ready endpoints are.
func elsewhere(s cluster.Service, self string, r reach) string {
	var here []string
	for _, e := range s.Endpoints {
		if e.Node != self || e.Ready {
			continue
		}
		state := "is not ready"
		if e.Terminating {
			state = "is terminating"
		}
		here = append(here, cmp.Or(e.Pod, e.Addr.String())+" "+state)
	}
	slices.Sort(here)
	there := make([]string, 0, len(r.weights))
	for name := range r.weights {
		there = append(there, name)
	}
	slices.Sort(there)
	return strings.Join(append(firsts(slices.Compact(here)), "ready on "+strings.Join(firsts(there), ", ")), "; ")
}

// firsts keeps a list short enough for one line.
func firsts(list []string) []string {
	const most = 4
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most]), fmt.Sprintf("%d more", len(list)-most))
}

func weightAt(list []NodeWeight, node string) uint32 {
	i, ok := slices.BinarySearchFunc(list, node, func(a NodeWeight, name string) int { return cmp.Compare(a.Node, name) })
	if !ok {
		return 0
	}
	return list[i].Weight
}

func sortNodes(list []NodeWeight) {
	slices.SortFunc(list, func(a, b NodeWeight) int { return cmp.Compare(a.Node, b.Node) })
}
