package share

import (
	"math"
	"net/netip"
)

// Warning is what will break weights on a router, or may, and is known before a
// flow has come.
type Warning struct {
	Kind string     // one of those below
	Peer string     // that it is about; empty: about an address
	Addr netip.Addr // invalid: about a peer
	Text string     // a sentence for the operator: what is so, and what to do
}

// The kinds of warnings.
const (
	NotNegotiated = "NotNegotiated" // the session lacks what routes, or their weights, need
	Differs       = "Differs"       // two peers hear the weights of one address in different ways
	WholePercents = "WholePercents" // routers that count weights in whole percents cannot tell the shares apart
	Reflector     = "Reflector"     // a peer is a route reflector
)

// Kinds are all of them.
func Kinds() []string { return []string{NotNegotiated, Differs, WholePercents, Reflector} }

// Whole percents are a fault where they give a node this much more than its share, or
// only this much of it.
const (
	tooMuch   = 1.1
	tooLittle = 0.5
)

// Rounded is the node whose share suffers most where a router counts weights in whole
// percents: what it should get, and what it gets. false: none suffers much.
func Rounded(nodes []Weight) (worst NodeShare, found bool) {
	weights := make([]uint32, len(nodes))
	for i, n := range nodes {
		weights[i] = n.Weight
	}
	want, got := exact(weights), exact(wholePercents(weights))
	far := 0.0
	for i, n := range nodes {
		ratio := got[i] / want[i]
		if d := math.Abs(math.Log(ratio)); (ratio > tooMuch || ratio < tooLittle) && d > far {
			worst, far, found = NodeShare{Node: n.Node, Weight: n.Weight, Want: want[i], Got: got[i]}, d, true
		}
	}
	return worst, found
}
