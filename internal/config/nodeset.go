package config

import "slices"

// nodeset are the nodes that all selectors of in select, and none of out.
type nodeset struct{ in, out []Selector }

func (n nodeset) and(selectors ...Selector) nodeset {
	return nodeset{slices.Concat(n.in, selectors), n.out}
}

// empty tells whether no node can be among them, whatever its labels. It may say
// false where several selectors of out together leave nothing.
func (n nodeset) empty() bool {
	known := map[string]label{}
	for _, s := range n.in {
		for _, r := range s.requirements() {
			known[r.Key] = known[r.Key].and(r)
		}
	}
	for _, l := range known {
		if l.impossible() {
			return true
		}
	}
	return slices.ContainsFunc(n.out, func(s Selector) bool {
		return !slices.ContainsFunc(s.requirements(), func(r Requirement) bool { return !known[r.Key].implies(r) })
	})
}

// requirements are a selector in one form.
func (s Selector) requirements() []Requirement {
	list := slices.Clone(s.MatchExpressions)
	for key, value := range s.MatchLabels {
		list = append(list, Requirement{key, opIn, []string{value}})
	}
	return list
}

// label is what is known of one label of a node.
type label struct {
	there, absent bool
	one           []string // with bounded: its value is one of these
	bounded       bool
	not           []string // its value is none of these
}

func (l label) and(r Requirement) label {
	switch r.Operator {
	case opIn:
		one := r.Values
		if l.bounded {
			one = slices.DeleteFunc(slices.Clone(l.one), func(v string) bool { return !slices.Contains(r.Values, v) })
		}
		l.there, l.bounded, l.one = true, true, one
	case opNotIn:
		l.not = slices.Concat(l.not, r.Values)
	case opExists:
		l.there = true
	case opDoesNotExist:
		l.absent = true
	}
	return l
}

// values are those that a bounded label can have.
func (l label) values() []string {
	return slices.DeleteFunc(slices.Clone(l.one), func(v string) bool { return slices.Contains(l.not, v) })
}

func (l label) impossible() bool {
	return l.there && l.absent || l.bounded && len(l.values()) == 0
}

// implies tells whether the label meets a requirement for sure.
func (l label) implies(r Requirement) bool {
	outside := func(v string) bool { return !slices.Contains(r.Values, v) }
	switch r.Operator {
	case opIn:
		return l.bounded && !slices.ContainsFunc(l.values(), outside)
	case opNotIn:
		never := func(v string) bool { return slices.Contains(l.not, v) || l.bounded && !slices.Contains(l.one, v) }
		return l.absent || !slices.ContainsFunc(r.Values, func(v string) bool { return !never(v) })
	case opExists:
		return l.there
	case opDoesNotExist:
		return l.absent
	}
	return false
}
