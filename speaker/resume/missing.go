package resume

import (
	"maps"

	"github.com/heraldlb/herald/internal/cluster"
)

// missingIn is what a snapshot does not have of the saved one. While this speaker
// announced the saved one, no watch could tell of a deletion.
func missingIn(is, saved cluster.Snapshot) *cluster.Missing {
	m := cluster.Missing{Services: map[string]bool{}, Endpoints: map[string]bool{}, Nodes: map[string]bool{}}
	endpoints, nodes := present(is)
	for _, s := range saved.Services {
		switch n, there := endpoints[s.Key()]; {
		case !there:
			m.Services[s.Key()] = true
		case n == 0 && len(s.Endpoints) > 0:
			m.Endpoints[s.Key()] = true
		}
	}
	for _, n := range saved.Nodes {
		if !nodes[n.Name] {
			m.Nodes[n.Name] = true
		}
	}
	return &m
}

// stillMissing leaves out what has come since.
func stillMissing(is cluster.Snapshot, first *cluster.Missing) *cluster.Missing {
	if len(first.Services)+len(first.Endpoints)+len(first.Nodes) == 0 {
		return first
	}
	endpoints, nodes := present(is)
	return &cluster.Missing{
		Services:  without(first.Services, func(key string) bool { _, there := endpoints[key]; return there }),
		Endpoints: without(first.Endpoints, func(key string) bool { n, there := endpoints[key]; return n > 0 || !there }),
		Nodes:     without(first.Nodes, func(name string) bool { return nodes[name] }),
	}
}

func without(m map[string]bool, has func(string) bool) map[string]bool {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(k string, _ bool) bool { return has(k) })
	return m
}

func union(a, b cluster.Missing) cluster.Missing {
	return cluster.Missing{Services: both(a.Services, b.Services), Endpoints: both(a.Endpoints, b.Endpoints), Nodes: both(a.Nodes, b.Nodes)}
}

// both changes neither of its arguments.
func both(a, b map[string]bool) map[string]bool {
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(b)
	maps.Copy(out, a)
	return out
}

// present is how many endpoints each Service has, and which nodes there are.
func present(s cluster.Snapshot) (endpoints map[string]int, nodes map[string]bool) {
	endpoints, nodes = make(map[string]int, len(s.Services)), make(map[string]bool, len(s.Nodes))
	for _, svc := range s.Services {
		endpoints[svc.Key()] = len(svc.Endpoints)
	}
	for _, n := range s.Nodes {
		nodes[n.Name] = true
	}
	return endpoints, nodes
}
