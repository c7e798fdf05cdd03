package config

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/heraldlb/herald/internal/cluster"
)

// The operators of matchExpressions.
const (
	opIn           = "In"
	opNotIn        = "NotIn"
	opExists       = "Exists"
	opDoesNotExist = "DoesNotExist"

	operators = "In, NotIn, Exists or DoesNotExist"
)

func (s spot) selector() (sel Selector) {
	s.object(fields{
		"matchLabels": func(s spot) { sel.MatchLabels = s.labels() },
		"matchExpressions": func(s spot) {
			s.items(func(s spot) { sel.MatchExpressions = append(sel.MatchExpressions, s.requirement()) })
		},
	})
	return sel
}

func (s spot) labels() map[string]string {
	if s.node.Kind != yaml.MappingNode {
		s.fault("%s; write a mapping of labels", s.what())
		return nil
	}
	var labels map[string]string
	s.eachKey(func(key *yaml.Node, v spot) {
		if !isLabelKey(key.Value) {
			s.faults.add(key, v.path, "%q: not the key of a label, such as app or example.com/tier", key.Value)
		}
		if value, ok := v.labelValue(); ok {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[key.Value] = value
		}
	})
	return labels
}

func (s spot) labelValue() (string, bool) {
	value, ok := s.text()
	if ok && !isLabelValue(value) {
		s.fault("%q: not the value of a label: at most 63 letters, digits, dashes, dots and underscores", value)
	}
	return value, ok
}

func (s spot) requirement() (r Requirement) {
	var values spot
	s.object(fields{
		"key":      func(s spot) { r.Key = s.labelKey() },
		"operator": func(s spot) { r.Operator, _ = s.oneOf(opIn, opNotIn, opExists, opDoesNotExist) },
		"values": func(s spot) {
			values = s
			s.items(func(s spot) {
				if v, ok := s.labelValue(); ok {
					r.Values = append(r.Values, v)
				}
			})
		},
	}, "key", "operator")
	s.matchValues(r.Operator, values)
	return r
}

func (s spot) labelKey() string {
	key, ok := s.text()
	if ok && !isLabelKey(key) {
		s.fault("%q: not the key of a label, such as app or example.com/tier", key)
	}
	return key
}

// matchValues complains where an operator has too many or too few values.
func (s spot) matchValues(operator string, values spot) {
	has := values.present() && len(values.node.Content) > 0
	switch operator {
	case opIn, opNotIn:
		if !has {
			s.faults.add(s.node, join(s.path, "values"), "required with %s; write at least one value", operator)
		}
	case opExists, opDoesNotExist:
		if has {
			values.fault("has no meaning with %s; leave it out", operator)
		}
	}
}

// Matches tells whether the selector selects an object with these labels.
func (s Selector) Matches(labels map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	return !slices.ContainsFunc(s.MatchExpressions, func(r Requirement) bool { return !r.matches(labels) })
}

func (r Requirement) matches(labels map[string]string) bool {
	value, ok := labels[r.Key]
	switch r.Operator {
	case opIn:
		return ok && slices.Contains(r.Values, value)
	case opNotIn: // as in Kubernetes: an object without the label is not in either
		return !ok || !slices.Contains(r.Values, value)
	case opExists:
		return ok
	case opDoesNotExist:
		return !ok
	}
	return false
}

// Serves tells whether the pool is meant for a Service.
func (p Pool) Serves(s *cluster.Service) bool {
	return p.servesNamespace(s) && p.ServiceSelector.Matches(s.Labels)
}

// servesNamespace: by name or by label, whichever there is.
func (p Pool) servesNamespace(s *cluster.Service) bool {
	byLabel := !p.NamespaceSelector.empty()
	return len(p.Namespaces) == 0 && !byLabel ||
		slices.Contains(p.Namespaces, s.Namespace) ||
		byLabel && p.NamespaceSelector.Matches(s.NamespaceLabels)
}

func (s Selector) empty() bool { return len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0 }
