package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/heraldlb/herald/dataplane"
)

func mac(n int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, byte(n >> 8), byte(n)} }

func TestLinksThatNeighboursKnow(t *testing.T) {
	link := func(name string, m int, prefixes ...string) dataplane.Link {
		l := dataplane.Link{Name: name, MAC: mac(m), Ethernet: true}
		for _, p := range prefixes {
			l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
		}
		return l
	}
	links := []dataplane.Link{
		{Name: "lo", MAC: net.HardwareAddr{0, 0, 0, 0, 0, 0}, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
		link("eth0", 5, "10.0.0.1/24"),
		link("eth0.7", 5, "10.7.0.1/24"),
		link("eth1", 3, "fe80::1/64", "fd00::1/64"),
		link("eth2", 4),
		link("cali1", 9, "fe80::2/64"),
		link("ptp1", 8, "10.244.0.1/32"),
		{Name: "tun0", Ethernet: false, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}},
	}
	rows := []struct {
		desc string
		used []string
		want []net.HardwareAddr
	}{
		{"those with a subnet, each once", nil, []net.HardwareAddr{mac(3), mac(5)}},
		{"and those in use", []string{"eth2", "gone"}, []net.HardwareAddr{mac(3), mac(4), mac(5)}},
	}
	for _, r := range rows {
		if got := macsOf(links, r.used); !sameMACs(got, r.want) {
			t.Errorf("%s: %v, want %v", r.desc, got, r.want)
		}
	}
	if got := slices.Collect(slices.Values(macsOf(nil, nil))); len(got) != 0 {
		t.Errorf("no links: %s", fmt.Sprint(got))
	}
}
