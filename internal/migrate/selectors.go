package migrate

import (
	"slices"
)

// selector is a label selector of the Kubernetes API, in both languages.
type selector struct {
	MatchLabels      map[string]string `json:"matchLabels" yaml:"matchLabels,omitempty"`
	MatchExpressions []requirement     `json:"matchExpressions" yaml:"matchExpressions,omitempty"`
}

type requirement struct {
	Key      string   `json:"key" yaml:"key"`
	Operator string   `json:"operator" yaml:"operator"`
	Values   []string `json:"values" yaml:"values,omitempty,flow"`
}

func (s selector) everything() bool { return len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0 }

// matches tells whether the selector selects what has these labels.
func (s selector) matches(labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	for _, r := range s.MatchExpressions {
		got, has := labels[r.Key]
		in := has && slices.Contains(r.Values, got)
		switch {
		case r.Operator == "In" && !in, r.Operator == "NotIn" && in, r.Operator == "Exists" && !has, r.Operator == "DoesNotExist" && has:
			return false
		}
	}
	return true
}

// one is the one label and its values that a selector asks for, if that is all.
func (s selector) one() (key string, values []string, ok bool) {
	switch {
	case len(s.MatchLabels) == 1 && len(s.MatchExpressions) == 0:
		for k, v := range s.MatchLabels {
			return k, []string{v}, true
		}
	case len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 1 && s.MatchExpressions[0].Operator == "In":
		return s.MatchExpressions[0].Key, s.MatchExpressions[0].Values, true
	}
	return "", nil, false
}

// either makes as few selectors as it can of a list of which one must match.
// MetalLB has such lists where Herald has one selector; nil is everything. Selectors
// of one and the same label, the usual way to list nodes, become one.
func either(list []selector) []selector {
	var out []selector
	at := map[string]int{}
	for _, s := range list {
		if s.everything() {
			return nil
		}
		key, values, ok := s.one()
		i, seen := at[key]
		switch {
		case !ok:
			out = append(out, s)
		case !seen:
			at[key] = len(out)
			out = append(out, s)
		default:
			_, before, _ := out[i].one()
			all := slices.Clone(before)
			for _, v := range values {
				if !slices.Contains(all, v) {
					all = append(all, v)
				}
			}
			out[i] = selector{MatchExpressions: []requirement{{Key: key, Operator: "In", Values: all}}}
		}
	}
	return out
}

// eachOr is the list as pointers, or one nil pointer in place of none: what has no
// selector is written once, without.
func eachOr(list []selector) []*selector {
	if len(list) == 0 {
		return []*selector{nil}
	}
	var out []*selector
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}
