package share

import (
	"fmt"
	"slices"
	"strings"
)

// Says is a wrong verdict in a sentence.
func (v Verdict) Says() string {
	does := "seems to ignore weights"
	if len(v.Peers) != 1 {
		does = "seem to ignore weights"
	}
	if v.even() {
		does = strings.Replace(does, "ignore weights", "send flows to some nodes more than to others", 1)
	}
	i := slices.IndexFunc(v.Nodes, func(n NodeShare) bool { return n.Node == v.Worst })
	n := v.Nodes[max(i, 0)]
	return fmt.Sprintf("%s %s: %s should get %s and got %s of %d new flows in %s%s",
		v.By(), does, n.Node, Percent(n.Want), Percent(n.Got), v.Flows, v.Over, v.looks())
}

// Counted is how many flows a verdict rests on, and by whom they came.
func Counted(v Verdict) string {
	by := "none of the peers"
	if len(v.Peers) > 0 {
		by = strings.Join(v.Peers, ", ")
	}
	return fmt.Sprintf("%d flows in %s by %s", v.Flows, v.Over, by)
}

// PeerNames are the names of the peers by which the flows came; empty: none.
func (v Verdict) PeerNames() string { return strings.Join(v.Peers, ",") }

// By names the router, or the routers, whose choice the flows were.
func (v Verdict) By() string {
	switch {
	case len(v.Peers) == 0:
		return "routers that are none of the peers"
	case len(v.Peers) > 1:
		return "the routers " + strings.Join(v.Peers, ", ") + " or those before them"
	case v.Router == "":
		return "the router " + v.Peers[0]
	}
	return fmt.Sprintf("router %s (%s)", v.Peers[0], v.Router)
}

func (v Verdict) looks() string {
	switch v.Looks {
	case One:
		return "; one node gets all"
	case Equal:
		return "; all nodes get the same"
	default:
		return ""
	}
}

// Remedies are what to look at when a verdict is wrong, in the order in which it
// helps.
func Remedies() []string {
	return []string{
		"more than one path: does the router install all nodes' routes for the address (FRR: maximum-paths; BIRD: merge paths)?",
		"the hash: does the router choose by ports as well as by addresses (Linux: net.ipv4.fib_multipath_hash_policy=1, and the same of ipv6)? By addresses alone a few clients make uneven shares",
		"a path without a weight: does somebody else announce the address, or a prefix of the same length, without the link bandwidth community? FRR then ignores all weights",
		"the form of the weight: does the router read what weights and linkBandwidth of its peer say (docs/routers.md)? weights: addPath works on any that takes ADD-PATH",
	}
}
