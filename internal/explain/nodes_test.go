package explain_test

import (
	"slices"
	"strings"
	"testing"

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

func TestNodesThatAnnounce(t *testing.T) {
	tests := map[string]struct {
		key    string
		change func(*explain.Saved)
		want   []string
	}{
		"those with a ready pod": {"default/web", func(*explain.Saved) {}, []string{"n1", "n2"}},
		"also without flow rescue": {"default/web", func(s *explain.Saved) {
			s.Config = strings.Replace(s.Config, "/24]", "/24], flowRescue: off", 1)
		}, []string{"n1", "n2"}},
		"one that drains": {"default/web", func(s *explain.Saved) { s.Cluster.Nodes[0].Taints = []string{"heraldlb.io/drain"} }, []string{"n1", "n2"}},
		"none, at layer 2 alone": {"default/web", func(s *explain.Saved) {
			s.Config = strings.Replace(s.Config, "/24]", "/24], announce: [l2]", 1)
		}, nil},
		"none, of another's Service":    {"team-a/odd", func(*explain.Saved) {}, nil},
		"none, without a configuration": {"default/web", func(s *explain.Saved) { s.Config = "" }, nil},
		"none, of no Service":           {"default/none", func(*explain.Saved) {}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := saved()
			tt.change(&s)
			if got := explain.AnnouncingNodes(s, tt.key); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
