package share

import (
	"encoding/json"
	"math/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var vip = netip.MustParseAddr("198.51.100.0")

const torA, torB = "10.0.0.1", "10.0.0.2"

// situation is three nodes with 1, 3 and 4 pods that speak to router tor-a.
func situation() []Heard {
	var out []Heard
	weights := []Weight{{"n1", 1}, {"n2", 3}, {"n3", 4}}
	for _, w := range weights {
		out = append(out, Heard{w.Node, Report{Every: 10 * time.Second, Age: 2 * time.Second, Addresses: []Address{{
			Addr: vip, Nodes: weights, Samples: 90, Offers: []Offer{{Peer: "tor-a", Router: torA, Weight: w.Weight, Up: true}},
		}}}})
	}
	return out
}

// flows adds flows by a router in each of the last samples of each node.
func flows(heard []Heard, router string, samples int, perNode ...int) {
	for i, n := range perNode {
		a := &heard[i].Report.Addresses[0]
		c := make(Counts, samples)
		for j := range c {
			c[j] = uint32(n)
		}
		a.Flows = append(a.Flows, Series{router, c})
	}
}

func address(h Heard) *Address { return &h.Report.Addresses[0] }

func TestJudge(t *testing.T) {
	secondRouter := func(h []Heard, nodes ...int) {
		for _, i := range nodes {
			a := address(h[i])
			a.Offers = append(a.Offers, Offer{Peer: "tor-b", Router: torB, Weight: a.Nodes[i].Weight, Up: true})
		}
	}
	for name, tt := range map[string]struct {
		do   func(h []Heard)
		want string // kind, and then what Says says, or why
	}{
		"right":        {func(h []Heard) { flows(h, torA, 30, 10, 30, 40) }, "right: 2400 flows in 5m0s by tor-a"},
		"FRR's rounds": {func(h []Heard) { flows(h, torA, 30, 1200, 3700, 5000) }, "right: 297000 flows in 5m0s by tor-a"},
		"equal": {
			func(h []Heard) { flows(h, torA, 30, 10, 10, 10) },
			"wrong: router tor-a (10.0.0.1) seems to ignore weights: n1 should get 12.5 % and got 33.3 % of 900 new flows in 15m0s; all nodes get the same",
		},
		"one path": {
			func(h []Heard) { flows(h, torA, 30, 0, 0, 10) },
			"wrong: router tor-a (10.0.0.1) seems to ignore weights: n3 should get 50.0 % and got 100.0 % of 300 new flows in 15m0s; one node gets all",
		},
		"few": {func(h []Heard) { flows(h, torA, 30, 2, 2, 2) }, "too few: 180 flows in 15m0s by tor-a"},
		"few, so more minutes are looked at": {
			func(h []Heard) { flows(h, torA, 60, 2, 2, 2) },
			"wrong: router tor-a (10.0.0.1) seems to ignore weights: n1 should get 12.5 % and got 33.3 % of 360 new flows in 15m0s; all nodes get the same",
		},
		"no flows": {func([]Heard) {}, "too few: 0 flows in 15m0s by tor-a"},
		"a burst that only some have sampled yet": {func(h []Heard) {
			flows(h, torA, 30, 0, 0, 0)
			address(h[2]).Flows[0].Counts[0] = 1000
		}, "too few: 1000 flows in 5m0s by tor-a"},
		"a burst that only some have not forgotten": {func(h []Heard) {
			flows(h, torA, 30, 1, 3, 4)
			address(h[0]).Flows[0].Counts[29] = 1000
		}, "too few: 1239 flows in 5m0s by tor-a"},
		"a burst in the middle": {func(h []Heard) {
			for i := range h {
				flows(h, torA, 30, 0, 0, 0)
				address(h[i]).Flows[0].Counts[7] = 1000
			}
		}, "wrong: router tor-a (10.0.0.1) seems to ignore weights: n1 should get 12.5 % and got 33.3 % of 3000 new flows in 5m0s; all nodes get the same"},
		"samples of another moment": {func(h []Heard) {
			flows(h, torA, 30, 0, 0, 0)
			h[0].Report.Age = 12 * time.Second
			address(h[0]).Flows[0].Counts[4] = 125
			address(h[1]).Flows[0].Counts[5] = 375
			address(h[2]).Flows[0].Counts[5] = 500
		}, "right: 1000 flows in 5m0s by tor-a"},
		"too soon after a change": {func(h []Heard) {
			flows(h, torA, 30, 100, 100, 100)
			address(h[1]).Samples = 2
		}, "too few: 600 flows in 20s by tor-a"},
		"a change not long ago": {func(h []Heard) {
			flows(h, torA, 30, 100, 100, 100)
			address(h[1]).Samples = 6
		}, "wrong: router tor-a (10.0.0.1) seems to ignore weights: n1 should get 12.5 % and got 33.3 % of 1800 new flows in 1m0s; all nodes get the same"},
		"one of two routers": {func(h []Heard) {
			secondRouter(h, 0, 1, 2)
			flows(h, torA, 30, 10, 30, 40)
			flows(h, torB, 30, 10, 10, 10)
		}, "wrong: router tor-b (10.0.0.2) seems to ignore weights: n1 should get 12.5 % and got 33.3 % of 900 new flows in 15m0s; all nodes get the same"},
		"two routers, both right": {func(h []Heard) {
			secondRouter(h, 0, 1, 2)
			flows(h, torA, 30, 10, 30, 40)
			flows(h, torB, 30, 20, 60, 80)
		}, "right: 4800 flows in 5m0s by tor-b"},
		"another peer takes no weights": {func(h []Heard) {
			secondRouter(h, 0, 1, 2)
			for i := range h {
				address(h[i]).Offers[1].Weight = 1
			}
			flows(h, torA, 30, 10, 30, 40)
			flows(h, torB, 30, 10, 10, 10)
		}, "right: 2400 flows in 5m0s by tor-a"},
		"a router for each rack, and one before them that is wrong": {func(h []Heard) {
			address(h[2]).Offers = []Offer{{Peer: "tor-b", Router: torB, Weight: 4, Up: true}}
			flows(h[:2], torA, 30, 20, 60)
			flows(h[2:], torB, 30, 20)
		}, "wrong: the routers tor-a, tor-b or those before them seem to ignore weights: n3 should get 50.0 % and got 20.0 % of 3000 new flows in 5m0s"},
		"a router for each rack, of which one is wrong": {func(h []Heard) {
			address(h[2]).Offers = []Offer{{Peer: "tor-b", Router: torB, Weight: 4, Up: true}}
			flows(h[:2], torA, 30, 20, 20)
			flows(h[2:], torB, 30, 40)
		}, "wrong: router tor-a (10.0.0.1) seems to ignore weights: n1 should get 25.0 % and got 50.0 % of 1200 new flows in 5m0s; all nodes get the same"},
		"the peer is a reflector": {
			func(h []Heard) { flows(h, "", 30, 10, 10, 10) },
			"wrong: routers that are none of the peers seem to ignore weights: n1 should get 12.5 % and got 33.3 % of 900 new flows in 15m0s; all nodes get the same",
		},
		"neighbours, who know the address by ARP": {func(h []Heard) {
			for i := range h {
				address(h[i]).Layer2 = true
			}
			flows(h, "", 30, 0, 0, 100)
			flows(h, torA, 30, 1, 3, 4)
		}, "right: 240 flows in 15m0s by tor-a"},
		"a session is down, and that node gets nothing": {func(h []Heard) {
			address(h[0]).Offers[0].Up = false
			flows(h, torA, 30, 0, 30, 40)
		}, "right: 2100 flows in 5m0s by tor-a"},
		"a session is down, and the others get the same": {func(h []Heard) {
			address(h[0]).Offers[0].Up = false
			flows(h, torA, 30, 0, 30, 30)
		}, "right: 1800 flows in 5m0s by tor-a"}, // 3 : 4 would be 42.9 and 57.1 %: not sure yet
		"a node cannot count": {func(h []Heard) {
			flows(h, torA, 30, 10, 30, 40)
			h[1].Report = Report{Off: "no right"}
		}, "right: 1500 flows in 5m0s by tor-a; silent n2"},
		"none but one can": {func(h []Heard) {
			flows(h, torA, 30, 10, 30, 40)
			h[1].Report, h[2].Report = Report{Off: "no right"}, Report{Off: "no right"}
		}, "unknown: no two nodes have told what they count: no right; silent n2 n3"},
		"none can": {func(h []Heard) {
			for i := range h {
				h[i].Report = Report{Off: "no right"}
			}
		}, "unknown: no node has told what it counts: no right"},
		"the nodes do not agree": {func(h []Heard) {
			address(h[1]).Nodes = []Weight{{"n1", 1}, {"n2", 4}, {"n3", 4}}
			flows(h, torA, 30, 10, 10, 10)
		}, "unknown: the nodes do not agree yet on who announces it with which weight"},
		"one that drains": {func(h []Heard) {
			for i := range h {
				address(h[i]).Nodes = []Weight{{"n2", 3}, {"n3", 4}}
			}
			flows(h, torA, 30, 10, 30, 40)
		}, "right: 2100 flows in 5m0s by tor-a"},
		"a node alone": {func(h []Heard) {
			for i := range h {
				address(h[i]).Nodes = []Weight{{"n2", 3}}
			}
			flows(h, torA, 30, 10, 30, 40)
		}, "unknown: one node alone announces it"},
		"a node is preferred": {func(h []Heard) {
			address(h[0]).Offers[0].Preference = "MED 10"
			flows(h, torA, 30, 10, 10, 10)
		}, "unknown: its routes differ from node to node in more than the weight, so that weights decide over nothing, or no session is established"},
		"equal weights, one path": {func(h []Heard) {
			for i := range h {
				address(h[i]).Nodes = []Weight{{"n1", 2}, {"n2", 2}, {"n3", 2}}
				address(h[i]).Offers[0].Weight = 2
			}
			flows(h, torA, 30, 0, 0, 10)
		}, "wrong: router tor-a (10.0.0.1) seems to send flows to some nodes more than to others: n3 should get 33.3 % and got 100.0 % of 300 new flows in 15m0s; one node gets all"},
	} {
		t.Run(name, func(t *testing.T) {
			h := situation()
			tt.do(h)
			if got := told(Judge(vip, h)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			// The order of the reports does not matter, and they survive their encoding.
			slices.Reverse(h)
			text, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			var again []Heard
			if err := json.Unmarshal(text, &again); err != nil {
				t.Fatal(err)
			}
			if got := told(Judge(vip, again)); got != tt.want {
				t.Errorf("the other way round: %s", got)
			}
		})
	}
	if got := told(Judge(vip, nil)); got != "unknown: no node has told what it counts: their speakers do not answer, or do not announce it" {
		t.Error(got)
	}
}

func told(v Verdict) string {
	out := string(v.Kind) + ": "
	switch v.Kind {
	case Wrong:
		out += v.Says()
	case Unknown:
		out += v.Why
	default:
		out += Counted(v)
	}
	if len(v.Silent) > 0 {
		out += "; silent " + strings.Join(v.Silent, " ")
	}
	return out
}

// TestJudgeFindsInTime has flows come one by one, and nodes that take their samples
// at moments of their own.
func TestJudgeFindsInTime(t *testing.T) {
	r := rand.New(rand.NewSource(5))
	for _, tt := range []struct {
		what   string
		router []uint32
		kinds  map[Kind]int
	}{
		{"ignores weights", []uint32{1, 1, 1}, map[Kind]int{Wrong: 100}},
		{"honours them", []uint32{12, 37, 50}, map[Kind]int{Right: 100}},
	} {
		got := map[Kind]int{}
		for range 100 {
			h := situation()
			const perSample = 1000 / 30
			flows(h, torA, 30, 0, 0, 0)
			for s := range 30 {
				for i, n := range draw(r, exact(tt.router), perSample) {
					address(h[i]).Flows[0].Counts[s] = uint32(n)
				}
			}
			for i := range h {
				h[i].Report.Age = time.Duration(r.Int63n(int64(10 * time.Second)))
			}
			got[Judge(vip, h).Kind]++
		}
		for k, n := range tt.kinds {
			if got[k] != n {
				t.Errorf("%s: of 100 runs of 1,000 flows the verdicts are %v", tt.what, got)
			}
		}
	}
}

func TestCounts(t *testing.T) {
	for want, c := range map[string]Counts{"": {0, 0}, "1 0 2": {1, 0, 2, 0}, "4294967295": {1<<32 - 1}} {
		text, _ := c.MarshalText()
		var back Counts
		if err := back.UnmarshalText(text); err != nil || string(text) != want {
			t.Errorf("%v: %q, %v", c, text, err)
		}
		if c.sum(0, 99) != back.sum(0, 99) || c.sum(1, 2) != back.sum(1, 2) || c.sum(5, 9) != 0 {
			t.Errorf("%v becomes %v", c, back)
		}
	}
	for _, bad := range []string{"x", "-1", "4294967296", strings.Repeat("1 ", maxCounts+1)} {
		if (&Counts{}).UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
}

// FuzzJudge has other speakers say anything.
func FuzzJudge(f *testing.F) {
	h := situation()
	flows(h, torA, 5, 100, 100, 100)
	text, err := json.Marshal(h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(strings.Replace(string(text), `"Age":2000000000`, `"Age":-9223372036854775808`, 1)))
	f.Add([]byte(strings.Replace(string(text), `"Age":2000000000`, `"Age":9223372036854775807`, 1)))
	f.Add([]byte(strings.ReplaceAll(string(text), `"Samples":90`, `"Samples":-3`)))
	f.Add([]byte(strings.ReplaceAll(string(text), `"Every":10000000000`, `"Every":1`)))
	f.Add([]byte(strings.ReplaceAll(string(text), `"Weight":`, `"Weight":0,"x":`)))
	f.Add([]byte(strings.ReplaceAll(string(text), `"n2"`, `"n1"`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		var h []Heard
		if json.Unmarshal(text, &h) != nil {
			return
		}
		v := Judge(vip, h)
		if v.Kind == Wrong && (v.Says() == "" || v.Flows < Least) {
			t.Errorf("%+v", v)
		}
	})
}
