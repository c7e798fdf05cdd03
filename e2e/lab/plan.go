package lab

import "fmt"

// Names of the places that are not nodes.
const (
	Ext       = "ext"        // the client behind the router
	Router    = "router"     // FRR
	LANClient = "lan-client" // the client on the nodes' link
	CP        = "cp"         // the control plane
	lan       = "lan"        // the switch
)

// Addresses of the places, and the ranges that the lab uses.
const (
	Ext4, Ext6             = "10.88.0.10", "fd88::10"
	RouterExt4, RouterExt6 = "10.88.0.1", "fd88::1"
	Router4, Router6       = "10.77.0.1", "fd77::1"
	CP4, CP6               = "10.77.0.5", "fd77::5"
	LANClient4, LANClient6 = "10.77.0.100", "fd77::100"
	VIP4, VIP6             = "10.99.0.0/16", "fd99::/32"
	LAN4, LAN6             = "10.77.0.0/24", "fd77::/64"

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

// NodeAt returns the node of that index, which counts from 1.
func NodeAt(i int) Node {
	return Node{
		Name:     fmt.Sprintf("n%d", i),
		Addr4:    fmt.Sprintf("10.77.0.%d", 10+i),
		Addr6:    fmt.Sprintf("fd77::%d", 10+i),
		PodCIDR4: fmt.Sprintf("10.244.%d.0/24", i),
		PodCIDR6: fmt.Sprintf("fd00:244:%d::/64", i),
	}
}

// Nodes returns every node, powered or not.
func (l *Lab) Nodes() []Node {
	nodes := make([]Node, l.opts.Nodes)
	for i := range nodes {
		nodes[i] = NodeAt(i + 1)
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
