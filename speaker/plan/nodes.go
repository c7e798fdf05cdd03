package plan

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// nodes are the cluster's nodes and which of them may announce.
type nodes struct {
	byName   map[string]cluster.Node
	barred   map[string]Reason // why a node may not announce; absent: it may
	draining map[string]string // of those that may: why a node is about to stop
	all      []NodeWeight      // every node that may and does not drain, weight 1: shared by all Cluster Services
	alive    []NodeWeight      // those of all that the gossip knows to be alive
}

func nodesOf(list []cluster.Node, c config.Nodes) nodes {
	n := nodes{byName: make(map[string]cluster.Node, len(list)), barred: map[string]Reason{}, draining: map[string]string{}}
	// Readiness counts only while some node has it: when the control plane has
	// lost sight of all of them, withdrawing everything would turn its trouble
	// into an outage.
	anyReady := slices.ContainsFunc(list, func(x cluster.Node) bool { return x.Ready })
	for _, x := range list {
		n.byName[x.Name] = x
		drains := Drains(x, c)
		r, barred := barredBy(x, anyReady)
		if !barred && x.Unschedulable && c.CordonedLeave && drains == "" {
			r, barred = NodeCordoned, true
		}
		switch {
		case barred:
			n.barred[x.Name] = r
		case drains != "":
			n.draining[x.Name] = drains
		default:
			n.all = append(n.all, NodeWeight{Node: x.Name, Weight: 1})
		}
	}
	sortNodes(n.all)
	return n
}

// selected are the nodes that may announce the addresses of each pool, by its
// name.
func selected(n nodes, c *config.Config, alive map[string]bool) map[string]nodes {
	out := make(map[string]nodes, len(c.Pools))
	for _, p := range c.Pools {
		s := n.selectedBy(p.NodeSelector)
		s.alive = amongAlive(s.all, alive)
		out[p.Name] = s
	}
	return out
}

func (n nodes) selectedBy(s config.Selector) nodes {
	if len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0 {
		return n
	}
	out := nodes{byName: n.byName, barred: maps.Clone(n.barred), draining: map[string]string{}}
	for _, x := range n.all {
		if s.Matches(n.byName[x.Node].Labels) {
			out.all = append(out.all, x)
		} else {
			out.barred[x.Node] = NodeNotSelected
		}
	}
	for name, why := range n.draining {
		if s.Matches(n.byName[name].Labels) {
			out.draining[name] = why
		} else {
			out.barred[name] = NodeNotSelected
		}
	}
	return out
}

// Drains tells why a node is about to stop announcing; empty: it is not.
func Drains(x cluster.Node, c config.Nodes) string {
	annotation, annotated := x.Annotations[c.DrainAnnotation]
	switch {
	case x.Deleting:
		return "the Node is being deleted"
	case x.ShuttingDown:
		return "the node is shutting down"
	case c.DrainTaint != "" && slices.Contains(x.Taints, c.DrainTaint):
		return "the node has the taint " + c.DrainTaint
	case c.DrainAnnotation != "" && annotated && annotation != "false":
		return "the node has the annotation " + c.DrainAnnotation
	default:
		return ""
	}
}

func barredBy(x cluster.Node, anyReady bool) (Reason, bool) {
	if _, excluded := x.Labels[cluster.LabelExclude]; excluded {
		return NodeExcluded, true
	}
	if x.NetworkUnavailable {
		return NodeNetworkUnavailable, true
	}
	// The kubelet also withdraws its readiness when the node shuts down in good
	// order; such a node drains.
	if anyReady && !x.Ready && !x.ShuttingDown {
		return NodeNotReady, true
	}
	return "", false
}

// may tells whether the named node may announce, and else why not. One that
// drains may, for a while.
func (n nodes) may(name string) (Reason, bool) {
	if _, ok := n.byName[name]; !ok {
		return NodeUnknown, false
	}
	r, barred := n.barred[name]
	return r, !barred
}

// routerID is the node's IPv4 address. A node without one gets an identifier
// hashed from its name: RFC 6286 asks only that it be unique within the AS and
// not zero.
func routerID(n cluster.Node) netip.Addr {
	if a := n.Addr(cluster.IPv4); a.IsValid() || n.Name == "" {
		return a
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(n.Name)) // never fails
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], max(1, h.Sum32()))
	return netip.AddrFrom4(b)
}
