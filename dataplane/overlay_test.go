package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

func TestOverlayAddresses(t *testing.T) {
	p := OverlaySpec{}.Peer("n1", netip.MustParseAddr("10.0.0.1"))
	if p.MAC[0]&3 != 2 {
		t.Errorf("%s is not a local address of one host", p.MAC)
	}
	if len(p.MAC) != 6 || p.IPv6 != linkLocal(p.MAC) || p.IPv4.String() != "250.0.0.1" || p.Tunnel.String() != "10.0.0.1" || p.Link != OverlayLink {
		t.Errorf("the peer is %+v", p)
	}
	if got := linkLocal(mac(t, "02:11:22:33:44:55")).String(); got != "fe80::11:22ff:fe33:4455" {
		t.Errorf("the link-local address is %s", got)
	}
	if p := (OverlaySpec{}).Peer("n1", netip.MustParseAddr("fd00::1")); p.IPv4.As4()[0] < 0xf0 {
		t.Errorf("a node without IPv4 has the hop %s", p.IPv4)
	}
}

func TestOverlay(t *testing.T) {
	lab := netlab.New(t)
	node := lab.Node("node")
	lab.Pair(node, "eth0", node, "far0")
	node.Addr("eth0", "10.0.0.1/24", "fd00::1/64")
	node.Run("ip", "link", "set", "eth0", "mtu", "1400")
	spec := OverlaySpec{Local: addrOf("10.0.0.1"), Peers: []netip.Addr{addrOf("10.0.1.1"), addrOf("10.0.2.1")}}
	set := func(s OverlaySpec) string {
		t.Helper()
		node.Inside(t, func() {
			if err := NewOverlay(nil).Set(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
		return strings.ReplaceAll(node.Run("ip", "-d", "addr", "show", "dev", "herald-vx"), " tentative", "") + node.Run("ip", "neigh", "show", "dev", "herald-vx") +
			node.Run("ip", "-6", "neigh", "show", "dev", "herald-vx") + node.Run("bridge", "fdb", "show", "dev", "herald-vx") + node.Run("ip", "route", "show", "dev", "herald-vx")
	}
	first := set(spec)
	for _, want := range []string{"mtu 1350", "vxlan id 18533 local 10.0.0.1", "dstport 4793 nolearning", "250.0.1.1 lladdr " + overlayMAC(addrOf("10.0.1.1")).String() + " PERMANENT", "dst 10.0.2.1 self permanent", "250.0.1.1 proto 72 scope link"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	if again := set(spec); again != first {
		t.Errorf("the same again makes\n%s\nof\n%s", again, first)
	}
	spec.Peers = spec.Peers[1:]
	if got := set(spec); strings.Contains(got, "0.1.1 ") || !strings.Contains(got, "250.0.2.1 proto 72") {
		t.Errorf("with a peer less:\n%s", got)
	}
	spec.Local, spec.Peers = addrOf("fd00::1"), []netip.Addr{addrOf("fd00:1::1")}
	if got := set(spec); !strings.Contains(got, "mtu 1330") || !strings.Contains(got, "local fd00::1") || !strings.Contains(got, "dst fd00:1::1") {
		t.Errorf("over IPv6:\n%s", got)
	}
	node.Inside(t, func() {
		o := NewOverlay(nil)
		if err := o.Remove(t.Context(), spec); err != nil {
			t.Error(err)
		}
		if err := o.Remove(t.Context(), spec); err != nil {
			t.Errorf("removed twice: %v", err)
		}
		if err := o.Set(t.Context(), OverlaySpec{Local: addrOf("10.0.0.9")}); err == nil || err.Error() != "overlay herald-vx: no link of this host has 10.0.0.9" {
			t.Errorf("without the address: %v", err)
		}
	})
	lab.Pair(node, "herald-vx", node, "far1")
	node.Inside(t, func() {
		if err := NewOverlay(nil).Set(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "of kind veth, which is not ours") {
			t.Errorf("somebody else's link: %v", err)
		}
	})
}

// TestOverlayIsClosed: what is no copy of a peer's does not come out of it.
func TestOverlayIsClosed(t *testing.T) {
	l := newRescueLab(t, 0, 1, 2)
	node, peer, stranger := l.nodes[0], l.nodes[1], l.nodes[2]
	target := OverlaySpec{}.Peer("", l.underlay(node)).IPv6.String() + "%herald-vx"
	knock := func(from *rescueNode) error {
		var err error
		from.Inside(t, func() {
			c, e := net.DialTimeout("tcp", net.JoinHostPort(target, "9"), 500*time.Millisecond)
			if err = e; e == nil {
				_ = c.Close()
			}
		})
		return err
	}
	remove := func(n *rescueNode) {
		n.Inside(t, func() {
			if err := n.rescue.Remove(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	l.rescue(true)
	// Their own tables would keep the answers out.
	remove(peer)
	remove(stranger)
	for _, from := range []*rescueNode{peer, stranger} {
		if err := knock(from); err == nil || errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s reaches the node itself: %v", from.Name, err)
		}
	}
	// Without the tables it is open, so the knocks were knocks.
	remove(node)
	for _, from := range []*rescueNode{peer, stranger} {
		if err := knock(from); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s does not reach the node: %v", from.Name, err)
		}
	}
	// A tunnel from an address of no peer does not even get in.
	spec := l.spec(node)
	spec.Peers = slices.DeleteFunc(spec.Peers, func(p RescuePeer) bool { return p.Name == stranger.Name })
	node.Inside(t, func() {
		if err := node.rescue.Set(t.Context(), spec); err != nil {
			t.Error(err)
		}
	})
	node.Run("nft", "insert rule ip herald in udp dport 4793 counter")
	before := received(node)
	_ = knock(stranger)
	if n := received(node) - before; n != 0 {
		t.Errorf("%d frames of a stranger have come out", n)
	}
	if out := node.Run("nft", "list chain ip herald in"); strings.Contains(out, "packets 0 ") {
		t.Errorf("the stranger has sent nothing:\n%s", out)
	}
}

// received counts the frames out of the overlay.
func received(n *rescueNode) int {
	out := strings.TrimSpace(n.Run("sh", "-c", "ip -j -s link show dev herald-vx | grep -o '\"rx\":{\"bytes\":[0-9]*,\"packets\":[0-9]*' | grep -o '[0-9]*$'"))
	count, _ := strconv.Atoi(out)
	return count
}
