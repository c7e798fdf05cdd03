package main

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/speaker/plan"
)

func TestLocate(t *testing.T) {
	self, near, far, silent := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.9.0.3"), netip.MustParseAddr("10.0.0.4")
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 2}
	want := plan.Rescue{
		Services: []plan.RescueService{{Addr: netip.MustParseAddr("198.51.100.1"), Port: 80}},
		Peers: []plan.RescuePeer{
			{Name: "near", IPv4: near, IPv6: netip.MustParseAddr("fd00::2"), Ask: true},
			{Name: "far", IPv4: far, Ask: true},
			{Name: "silent", IPv4: silent, Ask: true},
		},
	}
	known := map[netip.Addr]dataplane.Neighbour{near: {MAC: mac, Link: "eth0"}}
	got := locate(want, self, known, func(a netip.Addr) bool { return a == far })
	if len(got.spec.Services) != 1 || !slices.Equal(got.asked, []string{"near", "far"}) {
		t.Errorf("services %v, asked %v", got.spec.Services, got.asked)
	}
	if p := got.spec.Peers[0]; p.Link != "eth0" || p.MAC.String() != mac.String() || !p.IPv6.IsValid() {
		t.Errorf("the neighbour is %+v", p)
	}
	if p := got.spec.Peers[1]; p.Link != dataplane.OverlayLink || p.Tunnel != far {
		t.Errorf("the node in another subnet is %+v", p)
	}
	if got.overlay.Local != self || !slices.Equal(got.overlay.Peers, []netip.Addr{far}) || got.spec.Overlay.Link == "" {
		t.Errorf("the overlay is %+v, in the tables %+v", got.overlay, got.spec.Overlay)
	}
	if !strings.Contains(got.problem, "silent") {
		t.Errorf("the problem is %q", got.problem)
	}
	if p := got.spec.Peers; !p[0].Ask || !p[1].Ask {
		t.Errorf("one is not asked: %+v", p)
	}
	off := locate(plan.Rescue{Peers: []plan.RescuePeer{{Name: "near", IPv4: near, Off: true}}}, self, known, nil)
	if len(off.asked) != 0 || len(off.spec.Peers) != 1 || off.spec.Peers[0].Ask || !strings.Contains(off.problem, "flow rescue is off on node near") {
		t.Errorf("a node on which it is off: %+v", off)
	}
	none := locate(plan.Rescue{Peers: want.Peers[:1]}, self, known, func(netip.Addr) bool { return false })
	if len(none.overlay.Peers) != 0 || none.spec.Overlay.Link != "" || none.problem != "" {
		t.Errorf("all on one segment: %+v", none)
	}
}
