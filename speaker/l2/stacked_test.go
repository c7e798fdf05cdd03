package l2

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/netlab/kernel"
)

func addVLAN(n *netlab.Node, below, id string) (name string) {
	name = below + "." + id
	n.Run("ip", "link", "add", "link", below, "name", name, "type", "vlan", "id", id)
	n.Run("ip", "link", "set", name, "up")
	return name
}

// TestVLAN claims on one of two VLANs on the same trunk.
func TestVLAN(t *testing.T) {
	if kernel.Rerun(t, kernel.VLAN) {
		return
	}
	lab, sw, client := segment(t)
	node := lab.Node("n1")
	sw.Attach(node, "eth0")
	for _, n := range []*netlab.Node{node, client} {
		addVLAN(n, "eth0", "7")
		addVLAN(n, "eth0", "8")
	}
	node.Addr("eth0.7", "192.0.2.1/24", "2001:db8::1/64")
	node.Addr("eth0.8", "192.0.2.1/24", "2001:db8::1/64")
	tags := map[uint32]*wire{}
	for _, id := range []uint32{0, 7, 8} {
		tags[id] = openVLAN(t, client, "eth0", id)
	}
	a := startAnnouncer(t, node, false)
	a.claimOn("eth0.7", addrs(vips...)...)
	servedOn(t, client, "eth0.7", macOf(node, "eth0.7"))
	for _, vip := range vips {
		answered(t, client, "eth0.8", vip)
		answered(t, client, "eth0", vip)
	}
	time.Sleep(1500 * time.Millisecond) // announcements as well
	for id, w := range tags {
		for _, vip := range vips {
			told := claimsOf(w, vip)
			if id == 7 && told < 4 || id != 7 && told > 0 {
				t.Errorf("on the trunk, %d frames with the tag %d claim %s", told, id, vip)
			}
		}
	}
}

// claimsOf counts the frames that a wire has heard of which an address is claimed.
func claimsOf(w *wire, addr string) (n int) {
	w.heard = append(w.heard, w.read(50*time.Millisecond)...)
	for _, f := range w.heard {
		if a, _, ok := claimIn(f); ok && a == addrs(addr)[0] {
			n++
		}
	}
	return n
}

// bondOf bonds a node's interfaces, the first of which becomes active. The kernel
// announces nothing by itself when the bond fails over.
func bondOf(n *netlab.Node, options string, ports ...string) {
	n.Run("sh", "-c", "ip link add bond0 type bond mode active-backup miimon 50 num_grat_arp 0 "+options)
	for _, p := range ports {
		n.Run("ip", "link", "set", p, "down")
		n.Run("ip", "link", "set", p, "master", "bond0")
	}
	n.Run("ip", "link", "set", "bond0", "up")
}

// TestBondFailsOver pulls the cable of the active port of a bond. Clients and the
// switch must learn at once by which way, and at which MAC, addresses are now.
func TestBondFailsOver(t *testing.T) {
	if kernel.Rerun(t, kernel.VLAN, kernel.Bond) {
		return
	}
	for _, c := range []struct {
		name, options string
		vlan          bool
	}{
		{"the ports share a MAC", "fail_over_mac none", false},
		{"each port has its own MAC", "fail_over_mac active", false},
		{"a VLAN on a bond", "fail_over_mac none", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lab, sw, client := segment(t)
			node := lab.Node("n1")
			first, second := sw.Attach(node, "eth0"), sw.Attach(node, "eth1")
			bondOf(node, c.options, "eth0", "eth1")
			link, on := "bond0", "eth0"
			if c.vlan {
				link, on = addVLAN(node, "bond0", "7"), addVLAN(client, "eth0", "7")
				client.Run("ip", "addr", "flush", "dev", "eth0")
				client.Addr(on, "192.0.2.99/24", "2001:db8::99/64")
			}
			node.Addr(link, "192.0.2.1/24", "2001:db8::1/64")
			a := startAs(t, node, "watching")
			a.claimOn(link, addrs(vips...)...)
			servedOn(t, client, on, macOf(node, link))
			for _, vip := range vips {
				client.Run("ip", "neigh", "replace", vip, "lladdr", macOf(node, link), "dev", on, "nud", "reachable")
			}
			if port := portOf(sw, macOf(node, link)); port != first {
				t.Errorf("the switch sends to port %q, want %s", port, first)
			}
			time.Sleep(4500 * time.Millisecond) // the first burst is over
			ears := []*wire{openWire(t, client, on, unix.ETH_P_ARP), openWire(t, client, on, unix.ETH_P_IPV6)}
			sw.Run("ip", "link", "set", first, "down")
			took := netlab.Eventually(t, 10*time.Second, func() string {
				if port := portOf(sw, macOf(node, link)); port != second {
					return fmt.Sprintf("the switch sends to port %q", port)
				}
				return ""
			})
			t.Logf("the switch has learnt the other port within %v", took.Round(time.Millisecond))
			for i, vip := range vips {
				if n := announced(ears[i], vip, 1500*time.Millisecond); n < 3 {
					t.Errorf("%s is announced %d times after the failover", vip, n)
				}
				answered(t, client, on, vip, macOf(node, link))
				if got, _ := neighbourOf(client, vip); got != macOf(node, link) {
					t.Errorf("the client has %s at %s, want %s", vip, got, macOf(node, link))
				}
			}
		})
	}
}

// portOf is the port to which a switch sends what is for a MAC.
func portOf(sw *netlab.Switch, mac string) string {
	for line := range strings.Lines(sw.Run("bridge", "fdb", "show", "br", "br0")) {
		f := strings.Fields(line)
		if len(f) > 2 && f[0] == mac && slices.Contains(f, "master") && !slices.Contains(f, "permanent") {
			return f[2]
		}
	}
	return ""
}

// TestBondPortsAreSilent has a client of its own at each port of a bond: only the
// one at the active port is answered, and announced to.
func TestBondPortsAreSilent(t *testing.T) {
	if kernel.Rerun(t, kernel.Bond) {
		return
	}
	lab, left, a := segment(t)
	right, b := lab.Switch("right"), lab.Node("b")
	right.Attach(b, "eth0", "192.0.2.98/24", "2001:db8::98/64")
	node := lab.Node("n1")
	left.Attach(node, "eth0")
	right.Attach(node, "eth1")
	bondOf(node, "", "eth0", "eth1")
	node.Addr("bond0", "192.0.2.1/24", "2001:db8::1/64")
	r := startAs(t, node, "watching")
	r.claimOn("bond0", addrs(vips...)...)
	served(t, a, macOf(node, "bond0"))
	for _, vip := range vips {
		answered(t, b, "eth0", vip)
	}
	time.Sleep(4500 * time.Millisecond) // the first burst is over
	ears := map[*netlab.Node][]*wire{}
	for _, n := range []*netlab.Node{a, b} {
		ears[n] = []*wire{openWire(t, n, "eth0", unix.ETH_P_ARP), openWire(t, n, "eth0", unix.ETH_P_IPV6)}
	}
	node.Run("ip", "link", "set", "bond0", "type", "bond", "active_slave", "eth1")
	for i, vip := range vips {
		netlab.Eventually(t, 10*time.Second, func() string {
			if n := claimsOf(ears[b][i], vip); n < 3 {
				return fmt.Sprintf("%s is announced %d times at the new port", vip, n)
			}
			return ""
		})
		if n := claimsOf(ears[a][i], vip); n > 0 {
			t.Errorf("%s is announced %d times at the old port", vip, n)
		}
		answered(t, a, "eth0", vip)
		answered(t, b, "eth0", vip, macOf(node, "bond0"))
	}
}
