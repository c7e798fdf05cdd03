package explain

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// Answer is what became of asking one node's speaker about flow rescue.
type Answer struct {
	Node    string
	Unknown string // why there is no answer; empty: there is one
	On      bool
	Why     string // it is off, or not whole, in the speaker's words
}

// RescueNodes are the nodes that must rescue flows of a Service, or may be asked
// for them. Whether they do so the cluster does not tell: ask them.
func RescueNodes(in Saved, key string) []string {
	svc, err := find(in.Cluster.Services, key)
	if err != nil || !svc.Ours() || svc.Deleting {
		return nil
	}
	c, _, err := parse(in.Config)
	if c == nil || err != nil {
		return nil
	}
	near := cluster.Snapshot{Services: sharers(in.Cluster.Services, svc), Nodes: in.Cluster.Nodes}
	return rescueNodes(c, near, svc)
}

// rescueNodes asks the first node's plan that has any: all know the same others.
func rescueNodes(c *config.Config, near cluster.Snapshot, svc cluster.Service) []string {
	for _, n := range near.Nodes {
		in := plan.Input{Self: n.Name, Config: c, Cluster: near, Gateways: gateways}
		r := rescueOf(in, plan.Compute(in))
		if !slices.ContainsFunc(r.Services, func(s plan.RescueService) bool { return slices.Contains(svc.Ingress, s.Addr) }) {
			continue
		}
		out := []string{n.Name}
		for _, p := range r.Peers {
			out = append(out, p.Name)
		}
		slices.Sort(out)
		return out
	}
	return nil
}

// Rescue writes on which nodes flow rescue is on, and why not on the others. Nodes
// of which the same is true share a line, so that a large cluster stays readable.
func Rescue(w io.Writer, answers []Answer) {
	if len(answers) == 0 {
		return
	}
	fmt.Fprintln(w, "\nflow rescue, as the nodes' speakers say:")
	nodes := map[Answer][]string{} // the key is without its Node
	var kinds []Answer
	for _, a := range answers {
		node := a.Node
		a.Node = ""
		if nodes[a] == nil {
			kinds = append(kinds, a)
		}
		nodes[a] = append(nodes[a], node)
	}
	slices.SortStableFunc(kinds, func(a, b Answer) int { return cmp.Compare(a.rank(), b.rank()) })
	for _, a := range kinds {
		fmt.Fprintf(w, "  %s: %s%s\n", words[a.rank()], strings.Join(nodes[a], ", "), a.because())
	}
}

// RescueNotAsked writes that the nodes of a snapshot cannot be asked.
func RescueNotAsked(w io.Writer, nodes []string) {
	if len(nodes) > 0 {
		fmt.Fprintln(w, "\nflow rescue: a snapshot does not tell on which nodes it is on; they were not asked")
	}
}

// words are those of an Answer's rank.
var words = [...]string{"on", "on, but not whole", "off", "not known"}

func (a Answer) rank() int {
	switch {
	case a.Unknown != "":
		return 3
	case !a.On:
		return 2
	case a.Why != "":
		return 1
	default:
		return 0
	}
}

func (a Answer) because() string {
	if why := cmp.Or(a.Unknown, a.Why); why != "" {
		return ": " + strings.ReplaceAll(why, "\n", "; ")
	}
	return ""
}
