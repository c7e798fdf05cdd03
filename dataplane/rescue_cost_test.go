package dataplane

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const dropAll = "table netdev bench {\nchain in {\ntype filter hook ingress device eth0 priority 0\ncounter drop\n}\n}\n"

// TestRescueCost sends packets of a connection that the node knows. What the node
// does with one is the time that is left when the time is taken off in which it is
// dropped at the node's door. Turns close to each other are compared, since other
// work on the machine slows whole turns.
func TestRescueCost(t *testing.T) {
	l := newRescueLab(t, 0, 0, 0)
	l.weights(1)
	node := l.nodes[0]
	c := l.dial(vip4, 1)[0]
	if _, err := ask(c, '.'); err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.TCPAddr).Port
	// The sequence numbers are not those of the connection.
	node.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1")
	pods := node.pods
	pods.Run("nft", dropAll)
	const packets, turns, atOnce = 5000, 41, 100
	in := node.sender(t, slices.Repeat([][]byte{ackFrame(node, [4]byte{10, 1, 0, 2}, uint16(port))}, atOnce))
	var without, with, ratios []float64
	for range turns {
		node.rescued(l, false)
		off := in.cost(t, packets)
		node.Run("nft", dropAll)
		door := in.cost(t, packets)
		node.Run("nft", "delete table netdev bench")
		node.rescued(l, true)
		on := in.cost(t, packets)
		without, with, ratios = append(without, off-door), append(with, on-door), append(ratios, (on-door)/(off-door))
	}
	if out := pods.Run("nft", "list table netdev bench"); counted(out) < 2*turns*packets {
		t.Errorf("of %d packets not all have reached the pods:\n%s", 2*turns*packets, out)
	}
	for _, l := range [][]float64{without, with, ratios} {
		slices.Sort(l)
	}
	t.Logf("a node's part of a packet: %.0f ns without rescue, %.0f ns with it: %.2f times as much (quartiles %.2f and %.2f)",
		without[turns/2], with[turns/2], ratios[turns/2], ratios[turns/4], ratios[turns*3/4])
	if ratios[turns/2] > 1.6 {
		t.Error("that is far more than 1.3 times as much")
	}
}

// counted is what the first counter in a text has counted.
func counted(text string) int {
	_, rest, _ := strings.Cut(text, "packets ")
	n, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return n
}
