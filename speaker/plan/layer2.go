package plan

import (
	"net/netip"
	"slices"
)

// layer2 is what one address's announcement at layer 2 comes to.
type layer2 struct {
	owner  string   // empty: none
	links  []string // of this node, if it is the owner
	reason Reason   // Announced, or why this node does not answer
	detail string
}

func (a asked) atLayer2() bool { return a.pool != nil && a.pool.L2 }

// layer2 finds the owner among the nodes that can serve every Service of the
// address. A node's links are known only to itself, so they have no part in this:
// all nodes must come to the same owner.
func (a asked) layer2(announcers []NodeWeight) layer2 {
	if !a.atLayer2() {
		return layer2{}
	}
	if a.in.NoLayer2 {
		return layer2{reason: Layer2Off}
	}
	owner := Owner(a.addr, [6]byte{}, a.alive(announcers))
	l := layer2{owner: owner, reason: NotOwner}
	switch {
	case owner == "":
		l.detail = "no node that can serve it is known to be alive"
	case owner != a.in.Self:
		l.detail = owner + " owns it"
	case a.in.Links == nil:
		l.reason = Announced
	default:
		l.links = a.in.Links(a.addr, a.pool.Interfaces, a.pool.ExcludeInterfaces)
		l.reason = Announced
		if len(l.links) == 0 {
			l.reason = NoUsableLink
		}
	}
	return l
}

// alive are the nodes of a list that the gossip knows to be alive. The list of all
// nodes is the same for every Cluster Service: of it there is one such list, made
// beforehand, since a copy for each address would cost more than all else here.
func (a asked) alive(list []NodeWeight) []NodeWeight {
	switch all := a.nodes.all; {
	case a.in.Alive == nil:
		return list
	case len(list) > 0 && len(list) == len(all) && &list[0] == &all[0]:
		return a.nodes.alive
	default:
		return amongAlive(list, a.in.Alive)
	}
}

func amongAlive(list []NodeWeight, alive map[string]bool) []NodeWeight {
	return slices.DeleteFunc(slices.Clone(list), func(n NodeWeight) bool { return !alive[n.Node] })
}

// announcers is the one node that announces an address at layer 2. It gets all
// of the traffic, so its weight says nothing.
func (l layer2) announcers() []NodeWeight {
	if l.owner == "" {
		return nil
	}
	return []NodeWeight{{Node: l.owner, Weight: 1}}
}

func detailOf(l layer2) string {
	if l.detail != "" {
		return "at layer 2 " + l.detail
	}
	return "at layer 2: " + string(l.reason)
}

// FNV-1a, and a finalizer: alone it hardly spreads what differs only at the end.
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
	golden    = 0x9e3779b97f4a7c15
)

// mostDraws bounds the work for an address. A node with more endpoints of one
// Service than that counts as if it had so many.
const mostDraws = 64

// Owner is the node that owns an address at layer 2 towards a client, or empty
// if there are no candidates. All nodes come to the same answer.
//
// It is weighted rendezvous hashing in whole numbers: each candidate draws as
// many numbers as it has weight, and the largest of all wins. So a candidate that
// goes moves only what it owned, and one that comes only what it gains. Weights
// are quantised, so that one more pod among many changes nothing.
//
// For now the client is ignored: one node serves all of them.
func Owner(addr netip.Addr, _ [6]byte, candidates []NodeWeight) string {
	base := uint64(fnvOffset)
	for _, b := range addr.AsSlice() {
		base = (base ^ uint64(b)) * fnvPrime
	}
	owner, best := "", uint64(0)
	for _, c := range candidates {
		if drawn := draw(base, c); owner == "" || drawn > best || drawn == best && c.Node < owner {
			owner, best = c.Node, drawn
		}
	}
	return owner
}

func draw(base uint64, c NodeWeight) uint64 {
	for i := range len(c.Node) {
		base = (base ^ uint64(c.Node[i])) * fnvPrime
	}
	best := uint64(0)
	for i := range min(max(quantise(c.Weight), 1), mostDraws) {
		best = max(best, mix(base+uint64(i)*golden))
	}
	return best
}

// mix makes every bit depend on every other.
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
