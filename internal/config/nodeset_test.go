package config

import (
	"fmt"
	"math/rand"
	"testing"
)

// TestNodeset compares with the answers of all nodes that can be told apart.
func TestNodeset(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	empties, unsure := 0, 0
	for range 5000 {
		n := nodeset{randomSelectors(r, 3), randomSelectors(r, 2)}
		some := ""
		for _, labels := range allLabels() {
			if n.has(labels) {
				some = fmt.Sprint(labels)
			}
		}
		switch {
		case n.empty() && some != "":
			t.Fatalf("%+v is called empty, but has the node %s", n, some)
		case n.empty():
			empties++
		case some == "" && len(n.out) < 2:
			t.Fatalf("%+v has no node, but is not called empty", n)
		case some == "":
			unsure++
		}
	}
	if empties < 500 || unsure == 0 {
		t.Errorf("%d are called empty, %d that are not have no node", empties, unsure)
	}
}

func (n nodeset) has(labels map[string]string) bool {
	for _, s := range n.in {
		if !s.Matches(labels) {
			return false
		}
	}
	for _, s := range n.out {
		if s.Matches(labels) {
			return false
		}
	}
	return true
}

// allLabels are those of all nodes with two labels that have one of four values,
// or are not there.
func allLabels() (list []map[string]string) {
	values := []string{"", "x", "y", "z", "other"}
	for _, a := range values {
		for _, b := range values {
			labels := map[string]string{}
			if a != "" {
				labels["a"] = a
			}
			if b != "" {
				labels["b"] = b
			}
			list = append(list, labels)
		}
	}
	return list
}

func randomSelectors(r *rand.Rand, most int) (list []Selector) {
	for range r.Intn(most + 1) {
		var s Selector
		if r.Intn(2) == 0 {
			s.MatchLabels = map[string]string{pick(r, "a", "b"): pick(r, "x", "y", "z")}
		} else {
			req := Requirement{Key: pick(r, "a", "b"), Operator: pick(r, opIn, opNotIn, opExists, opDoesNotExist)}
			if req.Operator == opIn || req.Operator == opNotIn {
				req.Values = [][]string{{"x"}, {"x", "y"}, {"y", "z"}}[r.Intn(3)]
			}
			s.MatchExpressions = []Requirement{req}
		}
		list = append(list, s)
	}
	return list
}

func pick(r *rand.Rand, words ...string) string { return words[r.Intn(len(words))] }
