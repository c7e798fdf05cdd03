package dataplane

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// eth is a link with all that is needed; each change makes it worse.
func eth(name string, changes ...func(*Link)) Link {
	l := Link{
		Name: name, Kind: "device", Up: true, Carrier: true, Ethernet: true,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")},
	}
	for _, c := range changes {
		c(&l)
	}
	return l
}

func kind(k string) func(*Link)         { return func(l *Link) { l.Kind = k } }
func portOf(name, k string) func(*Link) { return func(l *Link) { l.Master, l.MasterKind = name, k } }

func prefixes(texts ...string) func(*Link) {
	return func(l *Link) {
		l.Prefixes = nil
		for _, t := range texts {
			l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(t))
		}
	}
}

func down(l *Link)      { l.Up, l.Carrier = false, false }
func unplugged(l *Link) { l.Carrier = false }
func loopback(l *Link)  { l.Loopback, l.Ethernet = true, false }
func tunnel(l *Link)    { l.Ethernet = false }

func TestJudge(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("2001:db8::100")
	far := netip.MustParseAddr("198.51.100.1")
	for _, tt := range []struct {
		what string
		link Link
		want Selection
		is   Verdict
	}{
		{"the subnet is on it", eth("eth0"), Selection{Addr: v4}, Fits},
		{"the IPv6 subnet is on it", eth("eth0"), Selection{Addr: v6}, Fits},
		{"another subnet", eth("eth0"), Selection{Addr: far}, OtherSubnet},
		{"another subnet, but named", eth("eth0"), Selection{Addr: far, Include: []string{"eth0"}}, Fits},
		{"another subnet, but of a pattern", eth("eth0"), Selection{Addr: far, Include: []string{"bond*", "eth?"}}, Fits},
		{"others are named", eth("eth0"), Selection{Addr: v4, Include: []string{"eth1"}}, NotIncluded},
		{"excluded by name", eth("eth0"), Selection{Addr: v4, Exclude: []string{"eth0"}}, Excluded},
		{"excluded by pattern although included", eth("eth0"), Selection{Addr: v4, Include: []string{"eth0"}, Exclude: []string{"eth*"}}, Excluded},
		{"only a host address", eth("eth0", prefixes("192.0.2.100/32", "2001:db8::100/128")), Selection{Addr: v4}, OtherSubnet},
		{"only the other family", eth("eth0", prefixes("2001:db8::7/64")), Selection{Addr: v4}, OtherSubnet},
		{"no address at all, but named", eth("eth0", prefixes()), Selection{Addr: v4, Include: []string{"eth0"}}, Fits},
		{"down", eth("eth0", down), Selection{Addr: v4}, IsDown},
		{"unplugged", eth("eth0", unplugged), Selection{Addr: v4}, NoCarrier},
		{"named but unplugged", eth("eth0", unplugged), Selection{Addr: v4, Include: []string{"eth0"}}, NoCarrier},
		{"unplugged and of another subnet", eth("eth0", unplugged), Selection{Addr: far}, OtherSubnet},
		{"loopback, even if named", eth("lo", loopback), Selection{Addr: v4, Include: []string{"lo"}}, IsLoopback},
		{"a tunnel without neighbours", eth("wg0", tunnel), Selection{Addr: v4}, NoNeighbours},
		{"a VLAN", eth("eth0.7", kind("vlan")), Selection{Addr: v4}, Fits},
		{"a bond", eth("bond0", kind("bond")), Selection{Addr: v4}, Fits},
		{"a bridge", eth("br0", kind("bridge")), Selection{Addr: v4}, Fits},
		{"a macvlan", eth("mac0", kind("macvlan")), Selection{Addr: v4}, Fits},
		{"a port of a bond", eth("eth0", portOf("bond0", "bond")), Selection{Addr: v4}, IsPort},
		{"a port of a bond, even if named", eth("eth0", portOf("bond0", "bond")), Selection{Addr: v4, Include: []string{"eth0"}}, IsPort},
		{"a port of a bridge", eth("eth0", portOf("br0", "bridge")), Selection{Addr: v4}, IsPort},
		{"a member of a VRF", eth("eth0", portOf("blue", "vrf")), Selection{Addr: v4}, Fits},
		{"a veth that is called like a card", eth("eth0", kind("veth")), Selection{Addr: v4}, Fits},
		{"a pod's veth by a wide pattern", eth("cali0123", kind("veth")), Selection{Addr: v4, Include: []string{"*"}}, Internal},
		{"a pod's veth by its full name", eth("veth9", kind("veth")), Selection{Addr: v4, Include: []string{"veth9"}}, Fits},
		{"the pods' bridge", eth("cni0", kind("bridge")), Selection{Addr: v4}, Internal},
		{"kube-proxy's dummy", eth("kube-ipvs0", kind("dummy")), Selection{Addr: v4}, Internal},
		{"a dummy", eth("d0", kind("dummy")), Selection{Addr: v4}, Internal},
		{"a pod network's tunnel", eth("flannel.1", kind("vxlan")), Selection{Addr: v4}, Internal},
	} {
		if got := tt.want.Judge(tt.link); got != tt.is {
			t.Errorf("%s: %q, not %q", tt.what, got, tt.is)
		}
	}
}

func TestUsableKeepsOrder(t *testing.T) {
	links := []Link{eth("a"), eth("b", down), eth("c"), eth("d", portOf("a", "bridge"))}
	got := Usable(links, Selection{Addr: netip.MustParseAddr("192.0.2.1")})
	if len(got) != 2 || got[0].Name != "a" || got[1].Name != "c" {
		t.Errorf("usable are %v, not a and c", got)
	}
}

func TestHolders(t *testing.T) {
	links := []Link{eth("eth0"), eth("kube-ipvs0", prefixes("192.0.2.100/32"), down)}
	got := Holders(links, netip.MustParseAddr("192.0.2.100"))
	if len(got) != 1 || got[0] != "kube-ipvs0" {
		t.Errorf("%v have the address, not kube-ipvs0", got)
	}
}

func TestValidPattern(t *testing.T) {
	for p, ok := range map[string]bool{
		"eth0": true, "eth*": true, "en[po]?s*": true, "*": true,
		"": false, "[": false, "a b": false, "a/b": false,
	} {
		if ValidPattern(p) != ok {
			t.Errorf("%q: valid is not %v", p, ok)
		}
	}
}

// TestConvert is the table for what this kernel may be unable to make.
func TestConvert(t *testing.T) {
	const ready = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	attrs := func(name string, index, master int, flags uint32) netlink.LinkAttrs {
		return netlink.LinkAttrs{Name: name, Index: index, MasterIndex: master, RawFlags: flags, EncapType: "ether", HardwareAddr: mac}
	}
	bond := &netlink.Bond{LinkAttrs: attrs("bond0", 4, 6, ready), ActiveSlave: 2}
	bridge := &netlink.Bridge{LinkAttrs: attrs("br0", 6, 0, ready)}
	vlan := &netlink.Vlan{LinkAttrs: attrs("br0.7", 7, 0, ready)}
	vlan.ParentIndex = 6
	// A bond whose ports are all dead is administratively up, and its own cable is in.
	dead := &netlink.Bond{LinkAttrs: attrs("bond1", 5, 0, unix.IFF_UP|unix.IFF_LOWER_UP)}
	port := &netlink.Device{LinkAttrs: attrs("eth0", 2, 4, ready|unix.IFF_SLAVE)}
	addr := func(index int, text string, flags int) netlink.Addr {
		n, err := netlink.ParseIPNet(text)
		if err != nil {
			t.Fatal(err)
		}
		return netlink.Addr{IPNet: n, LinkIndex: index, Flags: flags}
	}
	got := convert([]netlink.Link{port, dead, bond, bridge, vlan}, []netlink.Addr{
		addr(4, "192.0.2.9/24", 0), addr(4, "192.0.2.8/24", 0), addr(4, "2001:db8::1/64", unix.IFA_F_TENTATIVE), addr(77, "192.0.2.1/24", 0),
	})
	want := []Link{
		{
			Name: "bond0", Index: 4, MAC: mac, Kind: "bond", Master: "br0", MasterKind: "bridge", Active: "eth0", Up: true, Carrier: true, Ethernet: true,
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.8/24"), netip.MustParsePrefix("192.0.2.9/24")},
		},
		{Name: "bond1", Index: 5, MAC: mac, Kind: "bond", Up: true, Ethernet: true},
		{Name: "br0", Index: 6, MAC: mac, Kind: "bridge", Active: "eth0", Up: true, Carrier: true, Ethernet: true},
		{Name: "br0.7", Index: 7, MAC: mac, Kind: "vlan", Active: "eth0", Up: true, Carrier: true, Ethernet: true},
		{Name: "eth0", Index: 2, MAC: mac, Kind: "device", Master: "bond0", MasterKind: "bond", Up: true, Carrier: true, Ethernet: true},
	}
	if !Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestChanged(t *testing.T) {
	for _, tt := range []struct {
		what   string
		change func(*Link)
		want   string
	}{
		{"nothing", func(*Link) {}, ""},
		{"an address", prefixes("192.0.2.8/24"), ""},
		{"the carrier", unplugged, "bond0"},
		{"the state", down, "bond0"},
		{"the MAC", func(l *Link) { l.MAC = net.HardwareAddr{2, 0, 0, 0, 0, 2} }, "bond0"},
		{"made anew", func(l *Link) { l.Index++ }, "bond0"},
		{"another name", func(l *Link) { l.Name = "bond1" }, "bond1"},
		{"the active port", func(l *Link) { l.Active = "eth1" }, "bond0"},
	} {
		before := eth("bond0", func(l *Link) { l.Index, l.Active = 4, "eth0" })
		now := before
		tt.change(&now)
		if got := strings.Join(Changed([]Link{before, eth("eth9")}, []Link{now, eth("eth9")}), " "); got != tt.want {
			t.Errorf("%s: %q changed, not %q", tt.what, got, tt.want)
		}
	}
}
