package plan

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// AddPath is how this node's weight becomes paths towards one peer: as many next
// hops as the weight asks for, of those that this node has.
type AddPath struct {
	Peer       string
	Width      int // how many next hops the router installs for a prefix
	IPv4, IPv6 Hops
}

// Hops are addresses of this node, of one family. The first is its own, the
// others are its aliases; they are not sorted.
type Hops []netip.Addr

// Aliases are the addresses that this host must have besides its own, sorted:
// some session may name them as next hops.
func (t Table) Aliases() []netip.Addr {
	var out []netip.Addr
	for _, a := range t.AddPaths {
		for _, hops := range []Hops{a.IPv4, a.IPv6} {
			if len(hops) > 1 {
				out = append(out, hops[1:]...)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

func (a AddPath) equal(o AddPath) bool {
	return a.Peer == o.Peer && a.Width == o.Width && slices.Equal(a.IPv4, o.IPv4) && slices.Equal(a.IPv6, o.IPv6)
}

// addPathsOf are those of this node's sessions that carry weights as paths.
func addPathsOf(c *config.Config, n cluster.Node, sessions []Session) []AddPath {
	var out []AddPath
	for _, p := range c.Peers {
		i := slices.IndexFunc(sessions, func(s Session) bool { return s.Name == p.Name })
		if i < 0 || sessions[i].Weights != config.EncodeAddPath {
			continue
		}
		r := overridden(p, n).AddPath
		out = append(out, AddPath{
			Peer: p.Name, Width: cmp.Or(r.Width, 64),
			IPv4: hopsOf(n.Addr(cluster.IPv4), sessions[i], r.Prefixes),
			IPv6: hopsOf(n.Addr(cluster.IPv6), sessions[i], r.Prefixes),
		})
	}
	slices.SortFunc(out, func(a, b AddPath) int { return cmp.Compare(a.Peer, b.Peer) })
	return out
}

// hopsOf are a node's own address, which is the session's source if that says so,
// and its aliases: the leading bits of each prefix, and the rest of the address.
func hopsOf(own netip.Addr, s Session, prefixes []netip.Prefix) Hops {
	if !own.IsValid() {
		return nil
	}
	hops := Hops{own}
	if s.Source.IsValid() && s.Source.Is4() == own.Is4() {
		hops[0] = s.Source
	}
	for _, p := range prefixes {
		if p.Addr().Is4() != own.Is4() || len(hops) == int(s.Paths) {
			continue
		}
		if a := alias(p, own); !slices.Contains(hops, a) && a != own {
			hops = append(hops, a)
		}
	}
	return hops
}

func alias(p netip.Prefix, own netip.Addr) netip.Addr {
	a, rest := p.Addr().AsSlice(), own.AsSlice()
	for i := range a {
		keep := byte(0xff) // of the prefix
		if b := p.Bits() - 8*i; b < 8 {
			keep <<= 8 - max(b, 0)
		}
		a[i] = a[i]&keep | rest[i]&^keep
	}
	out, _ := netip.AddrFromSlice(a)
	return out
}

// replicate are the next hops of a route, of which the nodes announce the address.
// An aggregate comes from every node alike, so it has one.
func (t Table) replicate(r Route, nodes []NodeWeight) []netip.Addr {
	i, ok := slices.BinarySearchFunc(t.AddPaths, r.Peer, func(a AddPath, peer string) int { return cmp.Compare(a.Peer, peer) })
	if !ok {
		return nil
	}
	if !r.Prefix.IsSingleIP() {
		nodes = nil
	}
	return t.AddPaths[i].hops(r.Prefix.Addr(), r.Weight, nodes, t.Self)
}

// hops are the next hops of a route of this node's weight among all who announce
// it.
func (a AddPath) hops(prefix netip.Addr, weight uint32, others []NodeWeight, self string) []netip.Addr {
	own := a.IPv4
	if prefix.Is6() {
		own = a.IPv6
	}
	if len(own) < 2 {
		return own
	}
	weights := make([]uint32, 1, len(others)+1)
	weights[0] = weight
	for _, n := range others {
		if n.Node != self {
			weights = append(weights, n.Weight)
		}
	}
	return own[:Replicas(weights, len(own), a.Width)[0]]
}

// Replicas are small numbers in nearly the same proportion as the weights: each
// at least 1 and at most most, and together at most width, unless there are more
// weights than that. The numbers of equal weights are equal. Every node comes to
// the same answer.
//
// The total is not given, so all are tried: from 1 for each, the next seat goes to
// the weight that is worst off (Webster's method, ties together), and the best of
// these allocations is the one whose shares are least wrong: the largest ratio
// between any two nodes' paths per weight is the smallest. Among equals the
// smallest total wins.
func Replicas(weights []uint32, most, width int) []int {
	w, at := distinct(weights)
	n := make([]uint64, len(w))
	for i := range n {
		n[i] = 1
	}
	total := len(weights)
	best, ratio := slices.Clone(n), errorOf(w, n)
	for ratio.num != ratio.den {
		i := worstOff(w, n, most)
		if i < 0 || total+w[i].nodes > width {
			break
		}
		n[i]++
		total += w[i].nodes
		if e := errorOf(w, n); e.less(ratio) {
			best, ratio = slices.Clone(n), e
		}
	}
	out := make([]int, len(weights))
	for i := range out {
		out[i] = int(best[at[i]])
	}
	return out
}

// class are the nodes of one weight.
type class struct {
	weight uint64
	nodes  int
}

// distinct are the weights without repetition, ascending, and the place of each.
func distinct(weights []uint32) (list []class, at []int) {
	sorted := slices.Sorted(slices.Values(weights))
	for _, x := range sorted {
		if len(list) == 0 || list[len(list)-1].weight != uint64(max(x, 1)) {
			list = append(list, class{weight: uint64(max(x, 1))})
		}
		list[len(list)-1].nodes++
	}
	for _, x := range weights {
		i, _ := slices.BinarySearchFunc(list, uint64(max(x, 1)), func(c class, w uint64) int { return cmp.Compare(c.weight, w) })
		at = append(at, i)
	}
	return list, at
}

// worstOff is the class with the most weight per seat, counted half a seat ahead;
// -1: all have as many as they may.
func worstOff(w []class, n []uint64, most int) int {
	worst := -1
	for i := range w {
		if n[i] >= uint64(most) {
			continue
		}
		if worst < 0 || (fraction{w[worst].weight, 2*n[worst] + 1}).less(fraction{w[i].weight, 2*n[i] + 1}) {
			worst = i
		}
	}
	return worst
}

// errorOf is how many times as many paths for its weight the best off has as the
// worst off.
func errorOf(w []class, n []uint64) fraction {
	least, most := fraction{n[0], w[0].weight}, fraction{n[0], w[0].weight}
	for i := range w {
		f := fraction{n[i], w[i].weight}
		if f.less(least) {
			least = f
		}
		if most.less(f) {
			most = f
		}
	}
	return fraction{most.num * least.den, most.den * least.num}
}

// fraction avoids floating point, in which machines may differ.
type fraction struct{ num, den uint64 }

func (f fraction) less(o fraction) bool {
	h1, l1 := bits.Mul64(f.num, o.den)
	h2, l2 := bits.Mul64(o.num, f.den)
	return cmp.Or(cmp.Compare(h1, h2), cmp.Compare(l1, l2)) < 0
}
