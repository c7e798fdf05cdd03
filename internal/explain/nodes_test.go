package explain_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/explain"
)

func TestNodesToAskAboutFlowRescue(t *testing.T) {
	tests := map[string]struct {
		key    string
		change func(*explain.Saved)
		want   []string
	}{
		"also a node without a pod, which may be asked": {"default/web", func(*explain.Saved) {}, []string{"n1", "n2", "n3"}},
		"a node that drains":                            {"default/web", func(s *explain.Saved) { s.Cluster.Nodes[0].Taints = []string{"heraldlb.io/drain"} }, []string{"n1", "n2", "n3"}},
		"not a node that is excluded": {"default/web", func(s *explain.Saved) {
			s.Cluster.Nodes[0].Labels = map[string]string{cluster.LabelExclude: ""}
		}, []string{"n2", "n3"}},
		"none, where the pool has it off": {"default/web", func(s *explain.Saved) {
			s.Config = strings.Replace(s.Config, "/24]", "/24], flowRescue: off", 1)
		}, nil},
		"none, of a Service without an address": {"team-a/wants", func(*explain.Saved) {}, nil},
		"none, of another's Service":            {"team-a/odd", func(*explain.Saved) {}, nil},
		"none, without a configuration":         {"default/web", func(s *explain.Saved) { s.Config = "" }, nil},
		"none, of no Service":                   {"default/none", func(*explain.Saved) {}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := saved()
			tt.change(&s)
			if got := explain.RescueNodes(s, tt.key); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAnswersAboutFlowRescue(t *testing.T) {
	answers := []explain.Answer{
		{Node: "n1", Unknown: "no speaker is there"},
		{Node: "n2", On: true, Why: "flow rescue is off on node n4"},
		{Node: "n3", On: true, Why: "flow rescue is off on node n4"},
		{Node: "n4", Why: "not permitted"},
		{Node: "n5", On: true},
		{Node: "n6", Why: "one\nand another"},
	}
	const want = `
flow rescue, as the nodes' speakers say:
  on: n5
  on, but not whole: n2, n3: flow rescue is off on node n4
  off: n4: not permitted
  off: n6: one; and another
  not known: n1: no speaker is there
`
	var b strings.Builder
	explain.Rescue(&b, answers)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestALargeClusterOfOneMindIsOneLine(t *testing.T) {
	var answers []explain.Answer
	for i := range 100 {
		answers = append(answers, explain.Answer{Node: fmt.Sprintf("n%d", i), On: true})
	}
	var b strings.Builder
	explain.Rescue(&b, answers)
	if n := strings.Count(b.String(), "\n"); n != 3 { // an empty one and the heading before it
		t.Errorf("%d lines:\n%s", n, b.String())
	}
}
