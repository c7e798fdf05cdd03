package plan_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

var defaults = config.Weights{Interval: 5 * time.Minute, MinChange: 25, DecreaseDelay: 2 * time.Minute, SettleTime: 30 * time.Second}

// A script is a list of "at <time> want <weights>", and what must be announced
// then. Times are since midnight, so that ticks are easy to see.
func TestDamp(t *testing.T) {
	off, any := defaults, defaults
	off.Interval = 0
	any.MinChange = 0
	tests := []struct {
		desc   string
		w      config.Weights
		script []string
	}{
		{"the first announcement is exact and at once", defaults, []string{
			"0s n1=1 n2=3 -> n1=1 n2=3",
		}},
		{"while an address settles, changes are announced at once", defaults, []string{
			"0s n1=1 n2=1 -> n1=1 n2=1", "1s n1=1 n2=2 -> n1=1 n2=2", "29s n1=1 n2=3 -> n1=1 n2=3",
		}},
		{"later, a change waits for the interval since the last one", defaults, []string{
			"0s n1=1 n2=1 -> n1=1 n2=1", "1m n1=1 n2=2 -> n1=1 n2=1 due 5m0s", "4m59s n1=1 n2=2 -> n1=1 n2=1 due 5m0s",
			"5m n1=1 n2=2 -> n1=1 n2=2",
		}},
		{"a change after a long quiet waits for the next tick only", defaults, []string{
			"0s n1=1 n2=1 -> n1=1 n2=1", "1h0m7s n1=1 n2=2 -> n1=1 n2=1 due 1h0m30s", "1h0m30s n1=1 n2=2 -> n1=1 n2=2",
		}},
		{"a decrease that a restarted pod undoes is no change", defaults, []string{
			"0s n1=1 n2=2 -> n1=1 n2=2", "1h n1=1 n2=1 -> n1=1 n2=2 due 1h2m0s", "1h1m n1=1 n2=2 -> n1=1 n2=2",
			"1h3m n1=1 n2=2 -> n1=1 n2=2",
		}},
		{"a decrease that lasts is announced after the delay", defaults, []string{
			"0s n1=1 n2=2 -> n1=1 n2=2", "1h n1=1 n2=1 -> n1=1 n2=2 due 1h2m0s", "1h2m n1=1 n2=1 -> n1=1 n2=1",
		}},
		{"a small change of share is none", defaults, []string{
			"0s n1=10 n2=10 n3=10 -> n1=10 n2=10 n3=10", "1h n1=11 n2=10 n3=10 -> n1=10 n2=10 n3=10",
		}},
		{"small changes that add up are announced", defaults, []string{
			"0s n1=4 n2=4 -> n1=4 n2=4", "1h n1=5 n2=4 -> n1=4 n2=4", "2h n1=7 n2=4 -> n1=7 n2=4",
		}},
		{"with minChange 0 every change is announced", any, []string{
			"0s n1=10 n2=10 -> n1=10 n2=10", "1h0m1s n1=11 n2=10 -> n1=10 n2=10 due 1h0m30s", "1h0m30s n1=11 n2=10 -> n1=11 n2=10",
		}},
		{"with interval 0 nothing is held back", off, []string{
			"0s n1=10 n2=10 -> n1=10 n2=10", "1h n1=11 n2=10 -> n1=11 n2=10", "1h0m1s n1=1 n2=10 -> n1=1 n2=10",
		}},
		{"a clock that was set back holds nothing for long", defaults, []string{
			"10h n1=1 n2=1 -> n1=1 n2=1", "11h n1=1 n2=2 -> n1=1 n2=2", "1h n1=1 n2=4 -> n1=1 n2=4",
		}},
		{"a node that joins brings all pending weights along", defaults, []string{
			"0s n1=1 n2=1 -> n1=1 n2=1", "1m n1=1 n2=2 -> n1=1 n2=1 due 5m0s", "2m n1=1 n2=2 n3=1 -> n1=1 n2=2 n3=1",
		}},
		{"a node that leaves does so at once", defaults, []string{
			"0s n1=1 n2=1 n3=4 -> n1=1 n2=1 n3=4", "1m n1=1 n2=1 -> n1=1 n2=1",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.desc, func(t *testing.T) { runScript(t, tt.w, false, tt.script) })
	}
}

// Where flows are rescued, weights follow within 10 s, whatever happened before.
func TestDampWhereFlowsAreRescued(t *testing.T) {
	own := defaults
	own.Interval, own.DecreaseDelay = 2*time.Second, 0
	for _, tt := range []struct {
		desc   string
		w      config.Weights
		script []string
	}{
		{"a change waits for 8 s since the last one", defaults, []string{
			"0s n1=1 n2=1 -> n1=1 n2=1", "1h n1=1 n2=2 -> n1=1 n2=2", "1h0m1s n1=1 n2=6 -> n1=1 n2=2 due 1h0m8s", "1h0m8s n1=1 n2=6 -> n1=1 n2=6",
		}},
		{"a decrease must last for 5 s", defaults, []string{
			"0s n1=1 n2=2 -> n1=1 n2=2", "1h n1=1 n2=1 -> n1=1 n2=2 due 1h0m5s", "1h0m2s n1=1 n2=2 -> n1=1 n2=2", "1h1m n1=1 n2=1 -> n1=1 n2=2 due 1h1m5s",
			"1h1m5s n1=1 n2=1 -> n1=1 n2=1",
		}},
		{"a small change of share is none here either", defaults, []string{
			"0s n1=10 n2=10 n3=10 -> n1=10 n2=10 n3=10", "1h n1=11 n2=10 n3=10 -> n1=10 n2=10 n3=10",
		}},
		{"what is configured to be quicker stays so", own, []string{
			"0s n1=1 n2=2 -> n1=1 n2=2", "1h n1=1 n2=1 -> n1=1 n2=1", "1h0m1s n1=1 n2=3 -> n1=1 n2=1 due 1h0m2s",
		}},
	} {
		t.Run(tt.desc, func(t *testing.T) { runScript(t, tt.w, true, tt.script) })
	}
}

func runScript(t *testing.T, w config.Weights, quick bool, script []string) {
	midnight := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var holds plan.Holds
	for _, line := range script {
		left, want, _ := strings.Cut(line, " -> ")
		at, weights, _ := strings.Cut(left, " ")
		d, err := time.ParseDuration(at)
		if err != nil {
			t.Fatal(err)
		}
		var wake time.Time
		got := map[string]uint32{}
		nodes := parseWeights(t, weights)
		for _, n := range nodes {
			// Every node comes to its own weight from the same state.
			table := plan.Table{
				Self:      n.Node,
				Routes:    []plan.Route{{Peer: "r", Prefix: vip, Weight: n.Weight}},
				Decisions: []plan.Decision{{Addr: vip.Addr(), Announce: true, Weight: n.Weight, Nodes: nodes, Quick: quick}},
			}
			damped, next, due := plan.Damp(holds, table, w, midnight.Add(d))
			got[n.Node], wake = damped.Routes[0].Weight, due
			if n.Node == nodes[len(nodes)-1].Node {
				holds = next
			}
			if table.Routes[0].Weight != n.Weight {
				t.Fatal("Damp changed its argument")
			}
		}
		text := ""
		for _, n := range nodes {
			text += fmt.Sprintf(" %s=%d", n.Node, got[n.Node])
		}
		if !wake.IsZero() {
			text += " due " + wake.Sub(midnight).String()
		}
		if text[1:] != want {
			t.Errorf("at %s, wanted weights %s: announced %s, want %s", at, weights, text[1:], want)
		}
	}
}

var vip = netip.MustParsePrefix("198.51.100.10/32")

func parseWeights(t *testing.T, s string) []plan.NodeWeight {
	var out []plan.NodeWeight
	for _, f := range strings.Fields(s) {
		var n plan.NodeWeight
		if _, err := fmt.Sscanf(strings.Replace(f, "=", " ", 1), "%s %d", &n.Node, &n.Weight); err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

func TestDampForgetsWhatNobodyAnnounces(t *testing.T) {
	table := plan.Table{Decisions: []plan.Decision{{Addr: vip.Addr(), Nodes: parseWeights(t, "n1=1")}}}
	_, holds, _ := plan.Damp(nil, table, defaults, time.Unix(0, 0))
	if len(holds) != 1 {
		t.Fatalf("holds %v, want one", holds)
	}
	if _, holds, _ = plan.Damp(holds, plan.Table{}, defaults, time.Unix(1, 0)); len(holds) != 0 {
		t.Fatalf("holds %v, want none", holds)
	}
}
