package explain_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/internal/share"
)

var counted = netip.MustParseAddr("198.51.100.0")

// counting is the answer of one of three nodes with the weights 1, 3 and 4 that has
// counted so many flows every ten seconds for five minutes.
func counting(node string, weight, flows uint32) explain.Answer {
	c := make(share.Counts, 30)
	for i := range c {
		c[i] = flows
	}
	return explain.Answer{Node: node, State: explain.State{Flows: &explain.Flows{Report: share.Report{Every: 10 * time.Second, Addresses: []share.Address{{
		Addr: counted, Nodes: []share.Weight{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 3}, {Node: "n3", Weight: 4}},
		Offers:  []share.Offer{{Peer: "tor-a", Router: "10.0.0.1", Weight: weight, Up: true}},
		Samples: 30, Flows: []share.Series{{Router: "10.0.0.1", Counts: c}},
	}}}}}}
}

func off(node string) explain.Answer {
	return explain.Answer{Node: node, State: explain.State{Flows: &explain.Flows{Report: share.Report{Off: "no right; apply manifests/overlays/measure"}}}}
}

// warned is off, and warns of a peer, of the address, and of another one.
func warned(node string) explain.Answer {
	a := off(node)
	a.State.Flows.Warnings = []share.Warning{
		{Kind: share.NotNegotiated, Peer: "tor", Text: "which the sessions say"},
		{Kind: share.Reflector, Peer: "rr", Text: "peer rr is a route reflector"},
		{Kind: share.WholePercents, Addr: counted, Text: "too small"},
		{Kind: share.WholePercents, Addr: netip.MustParseAddr("198.51.100.99"), Text: "of another Service"},
	}
	return a
}

func TestShares(t *testing.T) {
	for name, tt := range map[string]struct {
		answers []explain.Answer
		want    string
	}{
		"right": {[]explain.Answer{counting("n1", 1, 100), counting("n2", 3, 300), counting("n3", 4, 400)}, `
  198.51.100.0  as the weights ask for: 24000 flows in 5m0s by tor-a
    n1  weight 1  should get 12.5 %  got 12.5 %
    n2  weight 3  should get 37.5 %  got 37.5 %
    n3  weight 4  should get 50.0 %  got 50.0 %
`},
		"wrong": {[]explain.Answer{counting("n1", 1, 100), counting("n2", 3, 100), counting("n3", 4, 100)}, `
  198.51.100.0  NOT as the weights ask for: 9000 flows in 5m0s by tor-a
    n1  weight 1  should get 12.5 %  got 33.3 %
    n2  weight 3  should get 37.5 %  got 33.3 %
    n3  weight 4  should get 50.0 %  got 33.3 %
    router tor-a (10.0.0.1) seems to ignore weights: n1 should get 12.5 % and got 33.3 % of 9000 new flows in 5m0s; all nodes get the same
    To look at, in the order in which it helps:
    1. more than one path: REMEDY
    2. the hash: REMEDY
    3. a path without a weight: REMEDY
    4. the form of the weight: REMEDY
`},
		"few": {[]explain.Answer{counting("n1", 1, 1), counting("n2", 3, 1), counting("n3", 4, 1)}, `
  198.51.100.0  not judged yet: 90 flows in 5m0s by tor-a; it takes 200
    n1  weight 1  should get 12.5 %  got 33.3 %
    n2  weight 3  should get 37.5 %  got 33.3 %
    n3  weight 4  should get 50.0 %  got 33.3 %
`},
		"none": {[]explain.Answer{counting("n1", 1, 0), counting("n2", 3, 0), counting("n3", 4, 0)}, `
  198.51.100.0  not judged yet: 0 flows in 5m0s by tor-a; it takes 200
`},
		"one may not count": {[]explain.Answer{counting("n1", 1, 100), off("n2"), counting("n3", 4, 400)}, `
  198.51.100.0  as the weights ask for: 15000 flows in 5m0s by tor-a
    n1  weight 1  should get 20.0 %  got 20.0 %
    n3  weight 4  should get 80.0 %  got 80.0 %
    n2  left out: its count is not known
  not counted: n2: no right; apply manifests/overlays/measure
`},
		"none may": {[]explain.Answer{off("n1"), off("n2"), off("n3")}, `
  not counted: n1, n2, n3: no right; apply manifests/overlays/measure
`},
		"one alone may": {[]explain.Answer{counting("n1", 1, 100), off("n2"), {Node: "n3", Unknown: "no speaker is there"}}, `
  198.51.100.0  not judged: no two nodes have told what they count: their speakers do not answer
  not counted: n2: no right; apply manifests/overlays/measure
`},
		"warnings": {[]explain.Answer{warned("n1"), warned("n2")}, `
  not counted: n1, n2: no right; apply manifests/overlays/measure
  warning: n1, n2: peer rr is a route reflector
  warning: n1, n2: too small
`},
		"an older version": {[]explain.Answer{{Node: "n1"}}, `
  not known: n1: /state of the speaker does not tell: its version counts none
`},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			explain.Shares(&b, []netip.Addr{counted}, tt.answers)
			got, ok := strings.CutPrefix(b.String(), "\nmeasured shares, as the nodes' speakers count new flows:")
			if !ok {
				t.Fatalf("got %s", b.String())
			}
			for _, r := range share.Remedies() {
				_, rest, _ := strings.Cut(r, ": ")
				got = strings.Replace(got, rest, "REMEDY", 1)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	var b strings.Builder
	if explain.Shares(&b, []netip.Addr{counted}, []explain.Answer{{Node: "n1", Unknown: "no speaker is there"}}); b.Len() > 0 {
		t.Errorf("of no node: %s", b.String())
	}
}

func TestAnnouncedAddrs(t *testing.T) {
	s := saved()
	if got := explain.AnnouncedAddrs(s, "default/web"); len(got) == 0 || got[0] != counted {
		t.Errorf("got %v", got)
	}
	s.Config = strings.Replace(s.Config, "/24]", "/24], announce: [l2]", 1)
	if got := explain.AnnouncedAddrs(s, "default/web"); got != nil {
		t.Errorf("at layer 2 alone: %v", got)
	}
}
