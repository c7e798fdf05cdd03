package flows

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func TestTargets(t *testing.T) {
	ten, other := uint32(10), netip.MustParsePrefix("198.51.100.0/32")
	attributes := &config.Attributes{MED: &ten, LocalPref: &ten, Prepend: 2}
	s := Situation{
		Table: plan.Table{
			Sessions: []plan.Session{
				{Name: "bird", Weights: config.EncodeCommunity},
				{Name: "frr", Weights: config.EncodeLinkBandwidth},
				{Name: "inside", Internal: true, Weights: config.EncodeNone},
				{Name: "paths", Weights: config.EncodeAddPath},
				{Name: "range", Weights: config.EncodeLinkBandwidth},
			},
			Routes: []plan.Route{
				{Peer: "bird", Prefix: other, Weight: 1000},
				{Peer: "frr", Prefix: other, Weight: 1000, Attributes: attributes},
				{Peer: "inside", Prefix: other, Weight: 1000, Attributes: attributes, Draining: true},
				{Peer: "paths", Prefix: other, Weight: 1000, NextHops: make([]netip.Addr, 5)},
				{Peer: "range", Prefix: other, Weight: 7},
				{Peer: "frr", Prefix: netip.MustParsePrefix("203.0.113.0/24"), Weight: 1},
			},
			Decisions: []plan.Decision{
				{Service: "a/a", Addr: addr("198.51.100.0"), Announce: true, Nodes: []plan.NodeWeight{{Node: "n1", Weight: 1000}}, Owner: "n1"},
				{Service: "a/b", Addr: addr("198.51.100.0"), Announce: true},
				{Service: "a/c", Addr: addr("203.0.113.7"), Announce: true, Nodes: []plan.NodeWeight{{Node: "n1", Weight: 1}}},
				{Service: "a/d", Addr: addr("198.51.100.9")},
				{Service: "a/e"},
			},
		},
		Holds: plan.Holds{addr("198.51.100.0"): {Announced: []plan.NodeWeight{{Node: "n1", Weight: 900}, {Node: "n2", Weight: 1}}}},
		Peers: []Peer{
			{Name: "bird", Address: addr("10.0.0.1"), Up: true},
			{Name: "frr", Address: addr("10.0.0.2")},
			{Name: "inside", Address: addr("10.0.0.3"), Up: true},
			{Name: "paths", Address: addr("10.0.0.4"), Up: true, Paths: true},
			{Name: "range 10.0.0.5", Address: addr("10.0.0.5"), Up: true},
			{Name: "range 10.0.0.6", Address: addr("10.0.0.6"), Up: true},
			{Name: "ranger", Address: addr("10.0.0.7"), Up: true},
		},
	}
	const want = `198.51.100.0 [{n1 900} {n2 1}] layer2 true
  bird at one: 256 up
  frr at : 1000, MED 10, prepended 2 times
  inside at : 1 up, iBGP, draining, LOCAL_PREF 10, MED 10
  paths at : 5 up
  range 10.0.0.5 at : 7 up
  range 10.0.0.6 at : 7 up
203.0.113.7 [{n1 1}] layer2 false
`
	if got := targetsText(s, map[netip.Addr]string{addr("10.0.0.1"): "one"}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	s.Peers[3].Paths = false // it takes one path only, whatever was sent
	if got := targetsText(s, nil); !strings.Contains(got, "paths at : 1 up") {
		t.Errorf("without ADD-PATH:\n%s", got)
	}
	h := s.hints()
	if len(h.Peers) != 7 || len(h.Links) != 0 {
		t.Errorf("hints are %+v", h)
	}
}

func targetsText(s Situation, routers map[netip.Addr]string) string {
	var b strings.Builder
	for _, x := range s.targets(routers) {
		fmt.Fprintf(&b, "%s %v layer2 %t\n", x.addr, x.nodes, x.layer2)
		for _, o := range x.offers {
			fmt.Fprintf(&b, "  %s at %s: %d", o.Peer, o.Router, o.Weight)
			if o.Up {
				b.WriteString(" up")
			}
			if o.Preference != "" {
				b.WriteString(", " + o.Preference)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func TestRoutersOf(t *testing.T) {
	at := func(last byte) dataplane.Neighbour {
		return dataplane.Neighbour{MAC: net.HardwareAddr{2, 0, 0, 0, 0, last}, Link: "eth0"}
	}
	got := routersOf(map[netip.Addr]dataplane.Neighbour{
		addr("10.0.0.1"): at(1), addr("fd00::1"): at(1), addr("fe80::1%eth0"): at(1), // one router
		addr("10.0.0.2"):     at(2),
		addr("fe80::1%eth1"): at(3), addr("fe80::2%eth1"): at(3), // another one, that has no other addresses
	})
	want := map[netip.Addr]string{
		addr("10.0.0.1"): "10.0.0.1", addr("fd00::1"): "10.0.0.1", addr("fe80::1%eth0"): "10.0.0.1", addr("10.0.0.2"): "10.0.0.2",
		addr("fe80::1%eth1"): "fe80::1 02:00:00:00:00:03", addr("fe80::2%eth1"): "fe80::1 02:00:00:00:00:03",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
