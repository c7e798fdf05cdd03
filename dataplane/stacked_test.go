package dataplane

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/netlab/kernel"
)

func TestMain(m *testing.M) {
	kernel.Guest()
	os.Exit(m.Run())
}

var (
	onBond  = Selection{Addr: netip.MustParseAddr("192.0.2.100")}
	onVLAN7 = Selection{Addr: netip.MustParseAddr("198.51.100.100")}
)

// bonded is a node with bond0, over eth0, which is active, and eth1, and with VLAN
// 7 on the bond.
func bonded(t *testing.T) (here, far *netlab.Node) {
	t.Helper()
	lab := netlab.New(t)
	here, far = lab.Node("here"), lab.Node("far")
	here.Run("ip", "link", "add", "bond0", "type", "bond", "mode", "active-backup", "miimon", "50")
	for _, port := range []string{"eth0", "eth1"} {
		lab.Pair(here, port, far, port)
		here.Run("ip", "link", "set", port, "down")
		here.Run("ip", "link", "set", port, "master", "bond0")
	}
	here.Addr("bond0", "192.0.2.7/24", "2001:db8::7/64")
	here.Run("ip", "link", "add", "link", "bond0", "name", "bond0.7", "type", "vlan", "id", "7")
	here.Addr("bond0.7", "198.51.100.7/24")
	return here, far
}

func TestVLAN(t *testing.T) {
	if kernel.Rerun(t, kernel.VLAN) {
		return
	}
	here, far := pair(t)
	w := watch(t, here, nil)
	here.Run("ip", "link", "add", "link", "eth0", "name", "eth0.7", "type", "vlan", "id", "7")
	here.Addr("eth0.7", "198.51.100.7/24")
	eventually(t, w, "the VLAN carries its subnet, and its trunk does not", func(l map[string]Link) bool {
		return onVLAN7.Judge(l["eth0.7"]) == Fits && l["eth0.7"].Kind == "vlan" && onVLAN7.Judge(l["eth0"]) == OtherSubnet
	})
	far.Run("ip", "link", "set", "eth0", "down")
	eventually(t, w, "the VLAN has no carrier without its trunk", func(l map[string]Link) bool {
		return onVLAN7.Judge(l["eth0.7"]) == NoCarrier
	})
	far.Run("ip", "link", "set", "eth0", "up")
	eventually(t, w, "the VLAN is back", func(l map[string]Link) bool { return onVLAN7.Judge(l["eth0.7"]) == Fits })
	here.Run("ip", "link", "del", "eth0.7")
	eventually(t, w, "the VLAN is gone", func(l map[string]Link) bool { _, there := l["eth0.7"]; return !there })
}

func TestBond(t *testing.T) {
	if kernel.Rerun(t, kernel.VLAN, kernel.Bond) {
		return
	}
	here, far := bonded(t)
	w := watch(t, here, nil)
	named := Selection{Addr: onBond.Addr, Include: []string{"eth*", "bond*"}}
	eventually(t, w, "the bond and its VLAN carry what the ports do not", func(l map[string]Link) bool {
		return onBond.Judge(l["bond0"]) == Fits && onVLAN7.Judge(l["bond0.7"]) == Fits &&
			l["bond0"].Kind == "bond" && l["bond0"].Active == "eth0" && l["bond0.7"].Active == "eth0" &&
			named.Judge(l["eth0"]) == IsPort && named.Judge(l["eth1"]) == IsPort && l["eth1"].Master == "bond0"
	})
	before := w.Links()
	far.Run("ip", "link", "set", "eth0", "down")
	took := eventually(t, w, "the bond sends by the other port", func(l map[string]Link) bool {
		return l["bond0"].Active == "eth1" && l["bond0.7"].Active == "eth1"
	})
	t.Logf("seen %v after the command had ended", took.Round(time.Millisecond))
	now := w.Links()
	if got := Changed(before, now); !slices.Contains(got, "bond0") || !slices.Contains(got, "bond0.7") {
		t.Errorf("changed are %v, and not bond0 and bond0.7", got)
	}
	if links := byName(now); onBond.Judge(links["bond0"]) != Fits || onVLAN7.Judge(links["bond0.7"]) != Fits || named.Judge(links["eth1"]) != IsPort {
		t.Errorf("after the failover: %+v", now)
	}
	far.Run("ip", "link", "set", "eth1", "down")
	eventually(t, w, "the bond has no port any more", func(l map[string]Link) bool {
		return onBond.Judge(l["bond0"]) == NoCarrier && onVLAN7.Judge(l["bond0.7"]) == NoCarrier
	})
	far.Run("ip", "link", "set", "eth0", "up")
	eventually(t, w, "the bond has its first port again", func(l map[string]Link) bool {
		return onBond.Judge(l["bond0"]) == Fits && onVLAN7.Judge(l["bond0.7"]) == Fits && l["bond0"].Active == "eth0"
	})
}

// TestBondBelowBridge is a host with virtual machines: the bridge has the address,
// and a bond for a port.
func TestBondBelowBridge(t *testing.T) {
	if kernel.Rerun(t, kernel.VLAN, kernel.Bond) {
		return
	}
	here, _ := bonded(t)
	w := watch(t, here, nil)
	for _, command := range []string{
		"link add br0 type bridge forward_delay 0",
		"link set br0 up",
		"addr flush dev bond0",
		"link set bond0 master br0",
		"addr add 192.0.2.7/24 dev br0",
	} {
		here.Run("ip", strings.Fields(command)...)
	}
	eventually(t, w, "the bridge carries what the bond does not", func(l map[string]Link) bool {
		return onBond.Judge(l["br0"]) == Fits && onBond.Judge(l["bond0"]) == IsPort && l["br0"].Active == "eth0"
	})
	before := w.Links()
	here.Run("ip", "link", "set", "bond0", "type", "bond", "active_slave", "eth1")
	eventually(t, w, "the bridge sends by the bond's other port", func(l map[string]Link) bool { return l["br0"].Active == "eth1" })
	if got := Changed(before, w.Links()); !slices.Contains(got, "br0") {
		t.Errorf("changed are %v, and not br0", got)
	}
}
