package lab

import (
	"fmt"
	"slices"
)

// Names of the places that are not nodes.
const (
	Ext       = "ext"        // the client behind the router
	Router    = "router"     // FRR
	LANClient = "lan-client" // the client on the nodes' link
	CP        = "cp"         // the control plane
	lan       = "lan"        // the switches
)

// Addresses of the places, and the ranges that the lab uses.
const (
	Ext4, Ext6             = "10.88.0.10", "fd88::10"
	RouterExt4, RouterExt6 = "10.88.0.1", "fd88::1"
	Router4, Router6       = "10.77.0.1", "fd77::1"
	CP4, CP6               = "10.77.0.5", "fd77::5"
	LANClient4, LANClient6 = "10.77.0.100", "fd77::100"
	VIP4, VIP6             = "10.99.0.0/16", "fd99::/16"
	LAN4, LAN6             = "10.77.0.0/24", "fd77::/64"
	FarRouter4, FarRouter6 = "10.78.0.1", "fd78::1"
	FarLAN4, FarLAN6       = "10.78.0.0/24", "fd78::/64"

	podCIDRs     = "10.244.0.0/16,fd00:244::/32"
	serviceCIDRs = "10.96.0.0/16,fd00:96::/112"
	apiURL       = "https://" + CP4 + ":6443"
)

// A Node is where one node stands in the plan of addresses.
type Node struct {
	Name     string
	Addr4    string
	Addr6    string
	PodCIDR4 string
	PodCIDR6 string
}

// NodeAt returns the node of that index, which counts from 1, in a lab without
// FarNodes.
func NodeAt(i int) Node { return near.node(i) }

func (s segment) node(i int) Node {
	return Node{
		Name:     fmt.Sprintf("n%d", i),
		Addr4:    fmt.Sprintf("%s%d", s.prefix4, 10+i),
		Addr6:    fmt.Sprintf("%s%d", s.prefix6, 10+i),
		PodCIDR4: fmt.Sprintf("10.244.%d.0/24", i),
		PodCIDR6: fmt.Sprintf("fd00:244:%d::/64", i),
	}
}

// A segment is a switch with a subnet of its own on a port of the router.
type segment struct {
	bridge, spare    string // the switch; the one that Split makes
	port, link       string // between them and the router: the switch's end, the router's end
	router4, router6 string
	prefix4, prefix6 string // of the nodes' addresses
}

var (
	near = segment{"br0", "br1", Router, "lan0", Router4, Router6, "10.77.0.", "fd77::"}
	far  = segment{"br2", "br3", Router + "-far", "far0", FarRouter4, FarRouter6, "10.78.0.", "fd78::"}
)

// segments are those that the lab has.
func (l *Lab) segments() []segment {
	if len(l.opts.FarNodes) > 0 {
		return []segment{near, far}
	}
	return []segment{near}
}

// segmentOf is where a place stands.
func (l *Lab) segmentOf(place string) segment {
	if slices.Contains(l.opts.FarNodes, place) {
		return far
	}
	return near
}

// Nodes returns every node, powered or not.
func (l *Lab) Nodes() []Node {
	nodes := make([]Node, l.opts.Nodes)
	for i := range nodes {
		nodes[i] = l.segmentOf(NodeAt(i + 1).Name).node(i + 1)
	}
	return nodes
}

// Node returns the node of that name.
func (l *Lab) Node(name string) (Node, error) {
	for _, n := range l.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return Node{}, fmt.Errorf("lab %s: no node %q: it has n1 to n%d", l.opts.Name, name, l.opts.Nodes)
}

// Every namespace of a lab begins like this, which is how down finds them. The
// name has no dash, so no lab's prefix begins another's.
func nsPrefix(name string) string { return "hl-" + name + "-" }

func (l *Lab) ns(place string) string { return nsPrefix(l.opts.Name) + place }

// podPrefix keeps the pods of a node apart, so that its power can be cut.
func (l *Lab) podPrefix(node string) string { return l.ns("pod-" + node) }
