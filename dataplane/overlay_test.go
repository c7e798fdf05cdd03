package dataplane

import (
	"net/netip"
	"strings"
	"testing"

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
		inside(t, node, func() {
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
	inside(t, node, func() {
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
	inside(t, node, func() {
		if err := NewOverlay(nil).Set(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "of kind veth, which is not ours") {
			t.Errorf("somebody else's link: %v", err)
		}
	})
}
