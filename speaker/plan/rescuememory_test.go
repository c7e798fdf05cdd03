package plan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/plan"
)

// A script: at a moment, who announces; then who is remembered, with a ! for those
// who have ceased to, and how long that is to last.
func TestRescueMemory(t *testing.T) {
	tests := []struct {
		desc   string
		script []string
	}{
		{"a new memory", []string{"0s n1 -> n1 until 2h0m0s"}},
		{"who announces is remembered without an end", []string{"0s n1 -> n1 until 2h0m0s", "2h n1 -> n1", "9h n1 -> n1"}},
		{"who has left, from when it was seen to", []string{"0s n1 n2 -> n1 n2 until 2h0m0s", "9h n2 -> n2 n1! until 11h0m0s", "10h59m n2 -> n2 n1! until 11h0m0s", "11h n2 -> n2"}},
		{"who comes back", []string{"0s n1 -> n1 until 2h0m0s", "3h - -> n1! until 5h0m0s", "4h n1 -> n1", "6h - -> n1! until 8h0m0s"}},
		{"a clock that was set back keeps nobody for long", []string{"9h n1 -> n1 until 11h0m0s", "9h1m - -> n1! until 11h0m0s", "1h - -> n1! until 3h0m0s", "3h - -> -"}},
		{"a Node that is gone", []string{"0s n1 n2 -> n1 n2 until 2h0m0s", "1h n2 without n1 -> n2 until 2h0m0s"}},
	}
	for _, tt := range tests {
		t.Run(tt.desc, func(t *testing.T) {
			var m plan.RescueMemory
			for _, line := range tt.script {
				left, want, _ := strings.Cut(line, " -> ")
				at, left, _ := strings.Cut(left, " ")
				names, gone, _ := strings.Cut(left, " without ")
				next, wake := remember(t, m, strings.Fields(strings.Trim(names, "-")), gone, moment(t, at))
				m = next
				if got := memoryText(m["public"], wake); got != want {
					t.Errorf("at %s: %s, want %s", at, got, want)
				}
			}
		})
	}
}

// remember tells a memory of nodes that announce, in a cluster of n1 and n2.
func remember(t *testing.T, m plan.RescueMemory, nodes []string, gone string, now time.Time) (plan.RescueMemory, time.Time) {
	table := plan.Table{Decisions: []plan.Decision{{Pool: "public"}, {Pool: "another"}}}
	for _, n := range nodes {
		table.Decisions[0].Nodes = append(table.Decisions[0].Nodes, plan.NodeWeight{Node: n, Weight: 1})
	}
	in := plan.Input{Self: "n9", Config: testConfig(t)}
	for _, n := range []string{"n1", "n2"} {
		if n != gone {
			in.Cluster.Nodes = append(in.Cluster.Nodes, cluster.Node{Name: n})
		}
	}
	_, m, wake := m.Remember(table, in, now)
	return m, wake
}

func memoryText(p plan.RescuePool, wake time.Time) string {
	words := slices.Clone(p.Now)
	for _, n := range slices.Sorted(maps.Keys(p.Left)) {
		words = append(words, n+"!")
	}
	if len(words) == 0 {
		words = []string{"-"}
	}
	if !wake.IsZero() {
		words = append(words, "until", wake.Sub(midnight).String())
	}
	return strings.Join(words, " ")
}

func TestResumeOfAMemory(t *testing.T) {
	saved := plan.RescueMemory{"public": {Since: midnight, Now: []string{"n1"}}}
	for gap, since := range map[time.Duration]time.Time{
		0:                midnight,
		time.Minute:      midnight,
		61 * time.Second: moment(t, "3h1m1s"),
		-time.Second:     moment(t, "2h59m59s"), // a clock was set back: its age is not known
	} {
		now := moment(t, "3h").Add(gap)
		got := saved.Resume(moment(t, "3h"), now)["public"]
		if !got.Since.Equal(since) || !slices.Equal(got.Now, []string{"n1"}) {
			t.Errorf("after %s: %+v, want Since %s", gap, got, since)
		}
	}
	if !saved["public"].Since.Equal(midnight) {
		t.Error("Resume changed its receiver")
	}
}
