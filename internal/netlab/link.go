package netlab

import (
	"fmt"
	"sync/atomic"
)

// Pair connects two nodes by a virtual cable whose ends have the given names.
func (l *Lab) Pair(a *Node, aName string, b *Node, bName string) {
	l.tb.Helper()
	l.must("ip", "link", "add", aName, "netns", a.NS, "type", "veth", "peer", "name", bName, "netns", b.NS)
	a.Run("ip", "link", "set", aName, "up")
	b.Run("ip", "link", "set", bName, "up")
}

// Switch is a bridge in a namespace of its own.
type Switch struct {
	*Node
	ports atomic.Int64
}

// Switch makes a bridge that forwards at once and floods multicast, which
// neighbour discovery needs where nobody queries for groups.
func (l *Lab) Switch(name string) *Switch {
	l.tb.Helper()
	s := &Switch{Node: l.Node(name)}
	s.Run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	s.Run("ip", "link", "set", "br0", "up")
	return s
}

// Attach connects a node to the switch by an interface with the given name and
// addresses, and returns the name of the switch's port.
func (s *Switch) Attach(n *Node, ifname string, addrs ...string) string {
	s.lab.tb.Helper()
	port := fmt.Sprintf("p%d", s.ports.Add(1))
	s.lab.Pair(n, ifname, s.Node, port)
	s.Run("ip", "link", "set", port, "master", "br0")
	n.Addr(ifname, addrs...)
	return port
}
