package config

import (
	"maps"
	"slices"
)

// claim is a neighbour that the nodes with all selectors of in have, but for
// those with one of out.
type claim struct {
	spot
	peer      int
	neighbour string
	in, out   []Selector
}

// claim notes whom a peer has as neighbour, and on which nodes. The variants are
// the peer and its overrides.
func (r *peerReader) claim(variants []*peerDraft) {
	base := variants[0]
	peer := 0
	if n := len(r.claims); n > 0 {
		peer = r.claims[n-1].peer + 1
	}
	all := claim{base.whereWho(), peer, base.neighbour(), selectors(base.NodeSelector), nil}
	var claims []claim
	for _, o := range variants[1:] {
		if o.neighbour() == base.neighbour() {
			continue
		}
		claims = append(claims, claim{o.whereWho(), peer, o.neighbour(), append(selectors(base.NodeSelector), selectors(o.NodeSelector)...), all.out})
		all.out = append(slices.Clone(all.out), o.NodeSelector)
	}
	r.claims = append(append(r.claims, all), claims...)
}

func selectors(s Selector) []Selector {
	if s.empty() {
		return nil
	}
	return []Selector{s}
}

// neighbour names whom the session is with; empty: nobody.
func (p Peer) neighbour() string {
	switch {
	case isLinkLocal(p.Address):
		return p.Address.String() + "%" + p.Interface
	case p.Address.IsValid():
		return p.Address.String()
	case p.AddressRange.IsValid():
		return p.AddressRange.String()
	case !p.AddressFrom.IsZero():
		f := p.AddressFrom
		return "from " + string(f.DefaultGateway) + " " + f.NodeAnnotation + " " + f.NodeLabel + "%" + p.Interface
	case p.Interface != "":
		return "%" + p.Interface
	}
	return ""
}

// whereWho is the place that says who the neighbour is.
func (d *peerDraft) whereWho() spot {
	for _, key := range []string{"address", "addressRange", "addressFrom", "interface"} {
		if s := d.at[key]; s.present() {
			return s
		}
	}
	return d.spot
}

// refuseClashes complains of two peers with one neighbour, if there must be
// nodes that have both. Whether others clash depends on the nodes.
func (r *peerReader) refuseClashes() {
	for i, b := range r.claims {
		for _, a := range r.claims[:i] {
			if a.peer != b.peer && a.neighbour != "" && a.neighbour == b.neighbour && a.meets(b) {
				clashFault(a.spot, b.spot)
				break
			}
		}
	}
}

func clashFault(a, b spot) {
	if a.after(b) {
		a, b = b, a
	}
	b.fault("%s%s has it already, on the same nodes; give the peers nodeSelectors that no node has both of", b.quoted(), a.path)
}

// meets tells whether all nodes of the one claim, if there are any, are nodes of
// the other.
func (c claim) meets(o claim) bool {
	narrow := c
	switch {
	case subset(c.in, o.in):
		narrow = o
	case !subset(o.in, c.in):
		return false
	}
	return !slices.ContainsFunc(slices.Concat(c.out, o.out), func(s Selector) bool { return subset([]Selector{s}, narrow.in) })
}

func subset(a, b []Selector) bool {
	for _, s := range a {
		if !slices.ContainsFunc(b, s.equal) {
			return false
		}
	}
	return true
}

func (s Selector) equal(o Selector) bool {
	return maps.Equal(s.MatchLabels, o.MatchLabels) && slices.EqualFunc(s.MatchExpressions, o.MatchExpressions, func(a, b Requirement) bool {
		return a.Key == b.Key && a.Operator == b.Operator && slices.Equal(a.Values, b.Values)
	})
}

// selectorsSeen are the selectors of the overrides before.
type selectorsSeen struct {
	list []Selector
	at   []spot
}

// overrideSelector reads which nodes an override is for.
func (s spot) overrideSelector(seen *selectorsSeen) Selector {
	before := len(s.faults.list)
	sel := s.selector()
	if len(s.faults.list) > before {
		return sel
	}
	i := slices.IndexFunc(seen.list, sel.equal)
	switch {
	case sel.empty():
		s.fault("selects every node; change the setting itself instead, or write matchLabels or matchExpressions")
	case i >= 0:
		s.fault("%s is the same, and the first one counts; leave one of them out", seen.at[i].path)
	default:
		seen.list, seen.at = append(seen.list, sel), append(seen.at, s)
	}
	return sel
}
