package dataplane

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFlowsCost sends packets of a connection that the node knows, and new
// connections, with the counting on and off in turn. What the node does with one is
// the time that is left when the time is taken off in which it is dropped at the
// node's door. One table costs less than such times differ by themselves, so for
// known connections there are many, and what they add is divided.
func TestFlowsCost(t *testing.T) {
	l, n := newFlowNode(t)
	for range 200 { // a large cluster's
		n.spec.Addrs = append(n.spec.Addrs, n.spec.Addrs[len(n.spec.Addrs)-1].Next())
	}
	c := l.dial(vip4, 1)[0]
	if _, err := ask(c, '.'); err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.TCPAddr).Port
	// The sequence numbers are not those of the connection.
	n.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1")
	n.pods.Run("nft", dropAll)
	frame := ackFrame(n.rescueNode, [4]byte{10, 1, 0, 2}, uint16(port))
	copy(frame[6:], mac(t, routerMAC))
	const packets, turns, atOnce, tables = 5000, 41, 100, 20
	known := n.sender(t, slices.Repeat([][]byte{frame}, atOnce))
	n.remove()
	more := n.copies(t, tables)
	n.Run("nft", "-f", more)
	on, off := func() { n.Run("nft", "-f", more) }, func() {
		for i := range tables {
			n.Run("nft", "delete", "table", "ip", fmt.Sprint(flowsTable, i))
		}
	}
	n.cost(t, "a packet of a known connection", known, packets, turns, tables, on, off)
	off()
	n.cost(t, "a new connection", n.opening(t, atOnce), packets, turns, 1, func() { n.set(); n.forgetConntrack() }, func() { n.remove(); n.forgetConntrack() })
}

// copies writes a file with a number of our tables for IPv4.
func (n *flowNode) copies(t *testing.T, tables int) string {
	var b strings.Builder
	four, _, _ := strings.Cut(n.spec.Ruleset(), "table ip6 ")
	for i := range tables {
		b.WriteString(strings.Replace(four, flowsTable, fmt.Sprint(flowsTable, i), 1))
	}
	file := filepath.Join(t.TempDir(), "tables.nft")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// opening makes a sender of the first packets of connections, each of another one.
func (n *flowNode) opening(t *testing.T, atOnce int) *sender {
	next := uint32(1024 << 16) // the upper part is the port
	var frames [][]byte
	for range atOnce {
		f := ackFrame(n.rescueNode, [4]byte{}, 0)
		copy(f[6:], mac(t, routerMAC))
		f[14+20+13] = 2
		frames = append(frames, f)
	}
	s := n.sender(t, frames)
	s.renew = func(frame []byte) {
		address(frame, [4]byte{10, 50, byte(next >> 8), byte(next)}, uint16(next>>16))
		next++
	}
	return s
}

// cost logs what each of the tables adds to the node's part of a packet. Turns
// close to each other are compared, since other work on the machine slows whole
// turns.
func (n *flowNode) cost(t *testing.T, what string, s *sender, packets, turns, tables int, on, off func()) {
	t.Helper()
	var without, added, ratios []float64
	for range turns {
		n.Run("nft", dropAll)
		door := s.cost(t, packets)
		n.Run("nft", "delete table netdev bench")
		off()
		plain := s.cost(t, packets)
		on()
		more := (s.cost(t, packets) - plain) / float64(tables)
		without, added, ratios = append(without, plain-door), append(added, more), append(ratios, 1+more/(plain-door))
	}
	for _, l := range [][]float64{without, added, ratios} {
		slices.Sort(l)
	}
	at := func(l []float64, part int) float64 { return l[len(l)*part/4] }
	t.Logf("a node's part of %s: %.0f ns without counting; with it %.0f ns more (quartiles %.0f and %.0f), %.2f times as much (quartiles %.2f and %.2f)",
		what, at(without, 2), at(added, 2), at(added, 1), at(added, 3), at(ratios, 2), at(ratios, 1), at(ratios, 3))
	if at(ratios, 2) > 2 {
		t.Errorf("%s: that is far more than it was", what)
	}
}
