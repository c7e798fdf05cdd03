package share

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"
)

const (
	// A verdict is about the last minutes, and about more of them where flows are few.
	lastMinutes = 5 * time.Minute
	enough      = 1000

	// leastSamples: the first and the last are left out in turn.
	leastSamples = 3
)

// Kind is what can be said of an address.
type Kind string

// The kinds.
const (
	Right   Kind = "right"   // flows go to the nodes as their weights ask for
	Wrong   Kind = "wrong"   // they do not, and chance is out of the question
	TooFew  Kind = "too few" // flows, for a verdict
	Unknown Kind = "unknown" // Why says why
)

// Verdict is what the nodes' counts come to for an address.
type Verdict struct {
	Addr   netip.Addr
	Kind   Kind
	Why    string        // with Unknown
	Peers  []string      // the peers by which the flows came; empty: by none of them
	Router string        // the one router by which they came; empty: by several, or by none of the peers
	Over   time.Duration // for how long the flows were counted
	Flows  uint64
	Nodes  []NodeShare // whose counts are known, sorted
	Worst  string      // with Wrong: the node that is furthest off
	Looks  Pattern     // with Wrong
	Silent []string    // nodes that announce the address too, but whose counts are not known
}

// NodeShare is what a node should get of the flows, and what it got.
type NodeShare struct {
	Node      string
	Weight    uint32
	Want, Got float64 // of 1
	Flows     uint64
}

// Pattern is what wrong shares look like.
type Pattern string

// The patterns.
const (
	Equal Pattern = "equal" // all nodes get the same
	One   Pattern = "one"   // one node gets all
	Other Pattern = ""
)

// Heard is a node's report.
type Heard struct {
	Node   string
	Report Report
}

// entry is a node's report about the address in question.
type entry struct {
	Address
	node  string
	every time.Duration
	skip  int // samples that are newer than the newest of another node
}

// Judge tells whether the flows to an address are spread as the nodes' weights ask
// for. Nodes whose reports are missing are left out: how flows are spread among the
// others does not depend on them.
//
//	each router that two or more of the nodes speak to -> over those nodes
//	what came by none of the peers                     -> over all nodes
//	everything, where no router speaks to all nodes    -> over all nodes
//
// The first of these that is wrong is the verdict; else the one with the most flows.
func Judge(addr netip.Addr, heard []Heard) Verdict {
	v := Verdict{Addr: addr, Kind: Unknown}
	entries := entriesOf(addr, heard)
	if len(entries) == 0 {
		v.Why = "no node has told what it counts: " + cmp.Or(whyOff(heard), "their speakers do not answer, or do not announce it")
		return v
	}
	view := entries[0].Nodes
	for _, e := range entries {
		if !slices.Equal(e.Nodes, view) {
			v.Why = "the nodes do not agree yet on who announces it with which weight"
			return v
		}
	}
	announces := func(node string) bool {
		return slices.ContainsFunc(view, func(w Weight) bool { return w.Node == node })
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !announces(e.node) })
	for _, w := range view {
		if !slices.ContainsFunc(entries, func(e entry) bool { return e.node == w.Node }) {
			v.Silent = append(v.Silent, w.Node)
		}
	}
	switch {
	case len(view) < 2:
		v.Why = "one node alone announces it"
		return v
	case len(entries) < 2:
		v.Why = "no two nodes have told what they count: " + cmp.Or(whyOff(heard), "their speakers do not answer")
		return v
	}
	best := v
	best.Why = "its routes differ from node to node in more than the weight, so that weights decide over nothing, or no session is established"
	for _, g := range groupsOf(entries) {
		one := g.judge(v)
		if one.Kind == Wrong {
			return one
		}
		if best.Kind == Unknown || one.Flows > best.Flows {
			best = one
		}
	}
	return best
}

func whyOff(heard []Heard) string {
	for _, h := range heard {
		if h.Report.Off != "" {
			return h.Report.Off
		}
	}
	return ""
}

// entriesOf are the reports about an address, each with as many samples to leave
// out as it is ahead of the node that counted last the longest ago. Reports come
// from other processes: what cannot be is passed over.
func entriesOf(addr netip.Addr, heard []Heard) (out []entry) {
	heard = slices.Clone(heard)
	slices.SortStableFunc(heard, func(a, b Heard) int { return cmp.Compare(a.Node, b.Node) })
	heard = slices.CompactFunc(heard, func(a, b Heard) bool { return a.Node == b.Node })
	var oldest time.Duration
	var ages []time.Duration
	for _, h := range heard {
		a, ok := h.Report.Of(addr)
		if !ok || !h.Report.fresh() || len(out) > 0 && h.Report.Every != out[0].every {
			continue
		}
		a.Samples = min(max(a.Samples, 0), maxCounts)
		out = append(out, entry{Address: a, node: h.Node, every: h.Report.Every})
		ages = append(ages, h.Report.Age)
		oldest = max(oldest, h.Report.Age)
	}
	for i, e := range out {
		out[i].skip = int((oldest - ages[i] + e.every/2) / e.every)
	}
	return out
}

// group is over what a verdict can be made: nodes, and the flows that have a
// router's choice among these nodes in common.
type group struct {
	entries []entry
	weights []uint32
	counts  func(e entry, from, to int) uint64
	peers   []string
	router  string
}

func groupsOf(entries []entry) (out []group) {
	routers := map[string]bool{}
	for _, e := range entries {
		for _, o := range e.Offers {
			routers[o.Router] = true
		}
	}
	whole := false // some router speaks to all nodes
	for _, r := range slices.Sorted(maps.Keys(routers)) {
		if g, ok := groupOf(entries, func(o Offer) bool { return o.Router == r }); ok && len(g.entries) > 1 {
			g.router, g.counts = r, by(func(s Series) bool { return s.Router == r })
			whole = whole || len(g.entries) == len(entries)
			out = append(out, g)
		}
	}
	all, ok := groupOf(entries, func(Offer) bool { return true })
	if !ok || len(all.entries) < 2 {
		return out
	}
	if !slices.ContainsFunc(entries, func(e entry) bool { return e.Layer2 }) {
		others := all
		others.peers, others.counts = nil, by(func(s Series) bool { return s.Router == "" })
		out = append(out, others)
		if !whole {
			all.counts = by(func(Series) bool { return true })
			out = append(out, all)
		}
	}
	return out
}

// groupOf are the nodes that offer the address over an established session of those
// that are wanted. It is none if the nodes, or one's offers, differ in more than the
// weight.
func groupOf(entries []entry, wanted func(Offer) bool) (g group, ok bool) {
	var preferences []string
	for _, e := range entries {
		var weights []uint32
		for _, o := range e.Offers {
			if !o.Up || !wanted(o) {
				continue
			}
			weights = append(weights, max(o.Weight, 1))
			preferences = append(preferences, o.Preference)
			g.peers = append(g.peers, o.Peer)
		}
		if len(weights) == 0 {
			continue
		}
		if slices.Min(weights) != slices.Max(weights) {
			return group{}, false
		}
		g.entries, g.weights = append(g.entries, e), append(g.weights, weights[0])
	}
	slices.Sort(preferences)
	slices.Sort(g.peers)
	g.peers = slices.Compact(g.peers)
	return g, len(slices.Compact(preferences)) < 2
}

func by(router func(Series) bool) func(entry, int, int) uint64 {
	return func(e entry, from, to int) (n uint64) {
		for _, s := range e.Flows {
			if router(s) {
				n += s.Counts.sum(e.skip+from, e.skip+to)
			}
		}
		return n
	}
}

// in counts the flows of each node in a window of samples.
func (g group) in(from, to int) (counts []uint64, sum uint64) {
	for _, e := range g.entries {
		n := g.counts(e, from, to)
		counts, sum = append(counts, n), sum+n
	}
	return counts, sum
}

// samples is how many all nodes have in common.
func (g group) samples() int {
	n := g.entries[0].Samples - g.entries[0].skip
	for _, e := range g.entries {
		n = min(n, e.Samples-e.skip)
	}
	return n
}

// judge tells what the counts of a group come to.
func (g group) judge(v Verdict) Verdict {
	v.Kind, v.Why, v.Peers, v.Router = TooFew, "", g.peers, g.router
	every, most := g.entries[0].every, g.samples()
	to := min(most, int(lastMinutes/every))
	counts, sum := g.in(0, to)
	for ; to < most && sum < enough; to++ {
		more, n := g.in(to, to+1)
		for i := range more {
			counts[i] += more[i]
		}
		sum += n
	}
	v.Over, v.Flows = every*time.Duration(max(to, 0)), sum
	v.Nodes = g.shares(counts, sum)
	if sum < Least {
		return v
	}
	switch wrong, sure := g.wrong(to); {
	case !wrong:
		v.Kind = Right
	case sure:
		v.Kind = Wrong
		v.Worst, v.Looks = worst(v.Nodes), g.looks(counts, sum)
	}
	return v
}

// wrong tells whether the counts of the last samples are wrong, and whether they
// are without the first and the last of them, too. Nodes do not take their samples
// at the same moment, so that the edge of a burst may be in a sample of one node and
// not of another.
func (g group) wrong(to int) (wrong, sure bool) {
	counts, _ := g.in(0, to)
	if !compare(g.weights, counts, errorRate) {
		return false, false
	}
	if to < leastSamples {
		return true, false
	}
	for _, w := range [][2]int{{1, to}, {0, to - 1}, {1, to - 1}} {
		counts, sum := g.in(w[0], w[1])
		if sum < Least || !compare(g.weights, counts, errorRate) {
			return true, false
		}
	}
	return true, true
}

func (g group) shares(counts []uint64, sum uint64) (out []NodeShare) {
	want := exact(g.weights)
	for i, e := range g.entries {
		n := NodeShare{Node: e.node, Weight: g.weights[i], Want: want[i], Flows: counts[i]}
		if sum > 0 {
			n.Got = float64(counts[i]) / float64(sum)
		}
		out = append(out, n)
	}
	return out
}

// worst is the node that adds most to what is wrong.
func worst(nodes []NodeShare) string {
	off := func(n NodeShare) float64 { return (n.Got - n.Want) * (n.Got - n.Want) / n.Want }
	return slices.MaxFunc(nodes, func(a, b NodeShare) int { return cmp.Compare(off(a), off(b)) }).Node
}

// looks tells what the counts would be right for.
func (g group) looks(counts []uint64, sum uint64) Pattern {
	if slices.Max(counts)*100 >= sum*99 {
		return One
	}
	equal := 1 / float64(len(counts))
	off := slack(equal) + 3*math.Sqrt(equal*(1-equal)/float64(sum))
	for _, c := range counts {
		if math.Abs(float64(c)/float64(sum)-equal) > off {
			return Other
		}
	}
	return Equal
}

// even: the weights are all the same.
func (v Verdict) even() bool {
	return !slices.ContainsFunc(v.Nodes, func(n NodeShare) bool { return n.Weight != v.Nodes[0].Weight })
}

// Percent is a share for a person.
func Percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
