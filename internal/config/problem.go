package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/heraldlb/herald/internal/cluster"
)

// Problem is one fault of a configuration, or a warning: something that is valid,
// but hardly does what was meant.
type Problem struct {
	Path    string // of the field, such as pools[0].ranges[1]; empty: the whole document
	Message string // what is wrong and what to write instead
	Line    int    // in the document, from 1; 0: unknown
}

func (p Problem) String() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// Problems is every fault of a configuration, or every warning, in the order of the
// file.
type Problems []Problem

// Error is one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// faults collects problems while the tree is walked, and some, such as
// overlaps, only after.
type faults struct{ list, warnings []fault }

const longestMessage = 2048

type fault struct {
	Problem
	column int
}

func (f *faults) add(n *yaml.Node, path, format string, args ...any) {
	f.list = append(f.list, newFault(n, path, format, args...))
}

// newFault bounds what it says: a value or a key may have half a megabyte, and the
// fault goes to everybody who waits for the configuration.
func newFault(n *yaml.Node, path, format string, args ...any) fault {
	for i, a := range args {
		if text, ok := a.(string); ok && len(text) > longestMessage/2 {
			args[i] = cluster.Cut(text, 100)
		}
	}
	path = cluster.Cut(path, longestMessage/4)
	return fault{Problem{path, cluster.Cut(fmt.Sprintf(format, args...), longestMessage), n.Line}, n.Column}
}

// problems are faults or warnings in the order of the file.
func problems(list []fault) Problems {
	slices.SortStableFunc(list, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.column, b.column))
	})
	var ps Problems
	for _, x := range list {
		ps = append(ps, x.Problem)
	}
	return ps
}
