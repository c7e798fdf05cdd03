package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// spot is one value of the document together with its path. Its methods read
// the value, or complain of it and say false; then the walk goes on, so that
// every fault is reported.
type spot struct {
	node   *yaml.Node
	path   string
	faults *faults
}

func (s spot) fault(format string, args ...any) {
	s.faults.add(s.node, s.path, format, args...)
}

// warn notes what is valid, but hardly does what was meant.
func (s spot) warn(format string, args ...any) {
	s.faults.warnings = append(s.faults.warnings, newFault(s.node, s.path, format, args...))
}

// present tells whether the document has this value at all.
func (s spot) present() bool { return s.node != nil }

// fields says how to read each key of a mapping.
type fields map[string]func(spot)

// object reads a mapping. Keys without a value count as absent, as in the
// Kubernetes API.
func (s spot) object(known fields, required ...string) {
	if s.node.Kind != yaml.MappingNode {
		s.fault("%s; write a mapping with the keys %s", s.what(), keysOf(known))
		return
	}
	has := map[string]bool{}
	s.eachKey(func(key *yaml.Node, v spot) {
		read, ok := known[key.Value]
		if !ok {
			s.faults.add(key, v.path, "unknown key%s", suggestKey(key.Value, known))
			return
		}
		if v.node.ShortTag() == "!!null" {
			return
		}
		has[key.Value] = true
		read(v)
	})
	for _, key := range required {
		if !has[key] {
			s.faults.add(s.node, join(s.path, key), "required%s", remedies[key])
		}
	}
}

// remedies say what to write for a key that is missing.
var remedies = map[string]string{
	"apiVersion": "; write " + APIVersion,
	"pools":      "; write at least one pool, with name and ranges",
	"ranges":     "; write at least one, such as [192.0.2.0/24]",
	"operator":   "; write " + operators,
	"prefixes":   "; write at least one, such as [10.0.1.0/24]",
	"community":  "; write the AS number and the number that weights are added to, such as 64512:100",
	"addPath":    "; write the prefixes of the nodes' aliases, such as {prefixes: [10.0.1.0/24]}",
}

// eachKey visits the keys of a mapping in the order of the file. Of a key that
// is there twice only the first is visited.
func (s spot) eachKey(visit func(key *yaml.Node, v spot)) {
	first := map[string]int{}
	for i := 0; i+1 < len(s.node.Content); i += 2 {
		key := s.node.Content[i]
		v := spot{s.node.Content[i+1], join(s.path, key.Value), s.faults}
		if key.Kind != yaml.ScalarNode {
			s.faults.add(key, s.path, "a key that is %s; write a plain word", kindOf(key))
			continue
		}
		if line, twice := first[key.Value]; twice {
			s.faults.add(key, v.path, "duplicate key; it is on line %d already", line)
			continue
		}
		first[key.Value] = key.Line
		if v.resolvable() {
			visit(key, v)
		}
	}
}

// items reads a list.
func (s spot) items(visit func(spot)) {
	if s.node.Kind != yaml.SequenceNode {
		s.fault("%s; write a list", s.what())
		return
	}
	for i, n := range s.node.Content {
		item := spot{n, s.path + index(i), s.faults}
		if item.resolvable() {
			visit(item)
		}
	}
}

// resolvable refuses aliases: expanded, a small document can be enormous.
func (s spot) resolvable() bool {
	if s.node.Kind == yaml.AliasNode {
		s.fault("*%s: aliases are not supported; write the value out", s.node.Value)
		return false
	}
	return true
}

// what describes a value of a wrong type: the value, if short, and its type.
func (s spot) what() string {
	if s.node.Kind != yaml.ScalarNode || s.node.ShortTag() == "!!null" {
		return kindOf(s.node)
	}
	if s.node.ShortTag() == "!!str" {
		return fmt.Sprintf("%q: a string", s.node.Value)
	}
	return s.node.Value + ": " + kindOf(s.node)
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		return scalarKind(n)
	}
}

func scalarKind(n *yaml.Node) string {
	switch n.ShortTag() {
	case "!!str":
		return "a string"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a boolean"
	case "!!timestamp":
		return "a date"
	case "!!null":
		return "no value"
	default:
		return "a value with the tag " + n.Tag
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func keysOf(known fields) string {
	return strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

func (s spot) isEmptyList() bool {
	return s.node.Kind == yaml.SequenceNode && len(s.node.Content) == 0
}

// compare orders spots as in the document.
func (s spot) compare(o spot) int {
	return cmp.Or(cmp.Compare(s.node.Line, o.node.Line), cmp.Compare(s.node.Column, o.node.Column))
}

// after tells whether s comes later in the document.
func (s spot) after(o spot) bool { return s.compare(o) > 0 }

// quoted is how a fault starts that is of a value: with the value, if it is
// short.
func (s spot) quoted() string {
	if s.node.Kind != yaml.ScalarNode {
		return ""
	}
	return fmt.Sprintf("%q: ", s.node.Value)
}

func index(i int) string { return fmt.Sprintf("[%d]", i) }
