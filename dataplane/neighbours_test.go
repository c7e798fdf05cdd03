package dataplane

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/netlab"
)

func TestNeighbours(t *testing.T) {
	lab := netlab.New(t)
	self, near := lab.Node("self"), lab.Node("near")
	lan := lab.Switch("lan")
	lan.Attach(self, "eth0", "10.0.0.1/24", "fd00::1/64")
	lan.Attach(near, "eth0", "10.0.0.2/24", "fd00::2/64")
	self.Run("ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.2")
	var addrs []netip.Addr
	for _, a := range []string{"10.0.0.2", "fd00::2", "10.0.0.3", "10.9.0.2", "10.0.0.1", "192.0.2.1"} {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	local, _, _ := strings.Cut(strings.Fields(near.Run("ip", "-6", "-br", "addr", "show", "eth0", "scope", "link"))[2], "/")
	addrs = slices.Insert(addrs, 2, netip.MustParseAddr(local+"%eth0"))
	var got map[netip.Addr]Neighbour
	var err error
	var behind []string
	self.Inside(t, func() {
		got, err = Neighbours(t.Context(), addrs)
		for _, a := range addrs {
			if BehindGateway(a) {
				behind = append(behind, a.String())
			}
		}
	})
	if len(behind) != 1 || behind[0] != "10.9.0.2" {
		t.Errorf("behind a gateway are %v, want 10.9.0.2", behind)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := near.Run("ip", "-br", "link", "show", "eth0")
	for _, a := range addrs[:3] {
		if n := got[a]; n.Link != "eth0" || !strings.Contains(want, n.MAC.String()) {
			t.Errorf("%s is at %v on %q, want %q on eth0", a, n.MAC, n.Link, want)
		}
	}
	if len(got) != 3 {
		t.Errorf("found %v, want the three addresses of the neighbour only", got)
	}
}
