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
	weights map[string]uint32 // of a Local Service: endpoints per node that does not drain
	own     uint32            // of a Local Service: endpoints on this node, also if it drains or they terminate
}

func (r reach) at(node string) bool { return !r.local || r.weights[node] > 0 }

// here tells whether this node can serve the Service, if only for a while.
func (r reach) here() bool {
	if r.local {
		return r.own > 0
	}
	return r.live
}

// asked is what the decisions about one address have in common.
type asked struct {
	in      Input
	nodes   nodes
	bgp     *speakers
	pool    *config.Pool // nil: the address is in none
	addr    netip.Addr
	family  cluster.Family
	reaches []reach // of the Services that share the address
	entries []int   // of the advertisements that select one of them

	waits    string // why the address waits for one of the Services that share it; empty: it does not
	outdated string // why this node's rules for one of them are; empty: they are not
	another  bool   // another node is known to serve the address
}

// outcome is what comes of one address.
type outcome struct {
	decisions []Decision // for each Service that shares it
	claim     *Claim     // at layer 2; nil: none
	out       *outgoing  // by BGP; nil: nothing
}

// decide decides about one address.
func (a asked) decide(services []cluster.Service) outcome {
	for _, s := range services {
		r := reachOf(s, a.family, a.nodes, a.in.Self)
		a.reaches = append(a.reaches, r)
		if a.pool != nil && (r.live || r.here()) {
			a.entries = a.bgp.selecting(a.entries, s, a.pool)
		}
	}
	able := announcersOf(a.pool, a.nodes, a.reaches)
	l2 := a.layer2(able)
	announcers := a.announcers(able, l2)
	a.judgeRules(announcers)
	quick, slow := a.quick(services, announcers)
	o := outcome{decisions: make([]Decision, 0, len(services))}
	for i, s := range services {
		d := Decision{Service: s.Key(), Addr: a.addr, Owner: l2.owner, Nodes: announcers, Quick: quick, Slow: slow}
		if a.pool != nil {
			d.Pool = a.pool.Name
		}
		if d.Reason, d.Detail = a.reason(s, a.reaches[i]); d.Reason == Announced {
			a.announce(&d, l2, s, a.reaches[i])
			a.gate(&d)
		}
		if d.Claim {
			o.claim = &Claim{Addr: a.addr, Links: l2.links}
		}
		if d.Announce {
			o.out = &outgoing{a.addr, d.Weight, d.Draining, a.local(), a.entries, announcers}
		}
		o.decisions = append(o.decisions, d)
	}
	return o
}

// announcers are the nodes that announce the address. Among those that could,
// some may lack a peer or an advertisement for it.
func (a asked) announcers(able []NodeWeight, l2 layer2) []NodeWeight {
	if a.pool == nil {
		return nil
	}
	if a.pool.BGP && len(a.in.Config.Peers) > 0 {
		out := a.bgp.among(able, a.nodes.all, a.entries)
		if a.in.Leaving {
			out = slices.DeleteFunc(slices.Clone(out), func(n NodeWeight) bool { return n.Node == a.in.Self })
		}
		if len(out) > 0 || !a.atLayer2() {
			return out
		}
	}
	return l2.announcers()
}

// announce fills in how this node announces an address that nothing speaks
// against. Where BGP announces it, the part at layer 2 is only a detail.
func (a asked) announce(d *Decision, l layer2, s cluster.Service, me reach) {
	d.Announce, d.Claim, d.Layer2 = a.speaks(), l.reason == Announced, l.reason
	stop, why := a.stopping(s, me)
	d.Draining = d.Announce && stop != ""
	switch {
	case stop == NodeDraining || d.Draining:
		d.Reason, d.Detail = stop, why
	case !d.Announce:
		d.Reason, d.Detail = l.reason, l.detail
	case a.atLayer2() && !d.Claim:
		d.Detail = detailOf(l)
	}
	if a.outdated != "" && stop == "" && (d.Announce || d.Claim) {
		d.Reason, d.Detail = RulesOutdated, a.outdated+"; no other node is known to serve it better"
	}
	switch {
	case d.Draining:
		d.Weight = a.ownWeight()
	case d.Announce || d.Claim:
		d.Weight = max(weightAt(d.Nodes, a.in.Self), 1)
	}
}

// stopping tells why this node announces the address for a while only, if it is
// so. The other nodes do not count it any more.
func (a asked) stopping(s cluster.Service, me reach) (Reason, string) {
	if why, ok := a.nodes.draining[a.in.Self]; ok {
		return NodeDraining, why
	}
	if a.in.Leaving {
		return SpeakerLeaving, ""
	}
	if a.outdated != "" && a.another {
		return RulesOutdated, a.outdated
	}
	for _, r := range a.reaches {
		if !r.here() || r.at(a.in.Self) {
			continue
		}
		if r.key != me.key {
			return EndpointsTerminating, "those of " + r.key + ", which shares the address"
		}
		return EndpointsTerminating, elsewhere(s, a.in.Self, me)
	}
	return "", ""
}

// judgeRules finds out whether this node's rules speak against the address: whether
// it must not begin to announce it, since it does not forward what comes for one of
// the Services that share it, and whether another node could serve it better.
func (a *asked) judgeRules(announcers []NodeWeight) {
	if a.in.Forwarding == nil || !a.in.Config.Nodes.ForwardingGate {
		return
	}
	begun := false
	for _, r := range a.reaches {
		if !r.here() {
			continue
		}
		switch f := a.in.Forwarding(r.key, a.addr); {
		case !f.OK:
			a.waits = r.key + ", which shares the address: " + f.Why
		case f.Outdated:
			a.outdated = f.Why
		}
	}
	for _, r := range a.reaches {
		begun = begun || a.waits != "" && len(a.reaches) > 1 && a.in.Announced != nil && a.in.Announced(r.key, a.addr)
	}
	if begun {
		a.waits = "" // what the others have would be lost to spare what a new one lacks
	}
	a.another = a.outdated != "" && slices.ContainsFunc(announcers, func(n NodeWeight) bool {
		return n.Node != a.in.Self && (a.in.Able == nil || a.in.Able(n.Node))
	})
}

// ownWeight is this node's weight although it drains.
func (a asked) ownWeight() uint32 {
	var w uint32
	for _, r := range a.reaches {
		w += r.own
	}
	if !a.pool.Weights {
		w = 1
	}
	return max(w, 1)
}

// gate keeps an address silent that this node does not forward, for whichever of
// the Services that share it. Where it is announced already, only the one that is
// not forwarded says so.
func (a asked) gate(d *Decision) {
	if a.in.Forwarding == nil || !a.in.Config.Nodes.ForwardingGate || !d.Announce && !d.Claim {
		return
	}
	why := a.waits
	if f := a.in.Forwarding(d.Service, d.Addr); !f.OK {
		why = f.Why
	}
	if why != "" {
		d.Announce, d.Draining, d.Claim, d.Weight = false, false, false, 0
		d.Reason, d.Detail = NotForwarding, why
	}
}

// local tells whether some Service of the address is Local.
func (a asked) local() bool {
	return slices.ContainsFunc(a.reaches, func(r reach) bool { return r.local })
}

// reachOf counts the endpoints of one family that a Service can be served with.
//
//	ready endpoints somewhere      -> the nodes that have them, one each
//	none ready, some terminating   -> the nodes that serve while they terminate:
//	                                  kube-proxy sends to those only then (KEP-1669)
//	neither                        -> nowhere
//
// A node whose endpoints all terminate is thus no announcer while another node
// has a ready one: what still comes to it would be lost when its last pod ends.
// Nor is a node that drains. Both may announce for a while yet: see draining.
func reachOf(s cluster.Service, f cluster.Family, n nodes, self string) reach {
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
	if s.LocalOnly {
		r.own = cmp.Or(ready[self], serving[self])
		for name := range n.draining {
			delete(ready, name)
			delete(serving, name)
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
	case !me.live && !me.here():
		return NoReadyEndpoint, summary(s, a.family)
	case !me.here():
		return NoReadyEndpointOnNode, elsewhere(s, self, me)
	}
	for _, other := range a.reaches {
		if other.live && !other.here() {
			return SharerNotServed, other.key + " has no ready endpoint on this node"
		}
	}
	if !a.speaks() && !a.atLayer2() {
		return a.silent()
	}
	if r, detail := a.stopping(s, me); r == EndpointsTerminating && !a.speaks() {
		return NoReadyEndpointOnNode, detail // at layer 2 another node owns the address at once
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
