package l2

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/netlab/kernel"
	"github.com/heraldlb/herald/speaker/plan"
)

func mustMAC(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// announced counts the announcements of an address that come within a time.
func announced(w *wire, addr string, limit time.Duration) (n int) {
	want := addrs(addr)[0]
	for end := time.Now().Add(limit); time.Now().Before(end); {
		for _, f := range w.read(50 * time.Millisecond) {
			if a, _, ok := claimIn(f); ok && a == want && f[offDst]&1 == 1 {
				n++
			}
		}
	}
	return n
}

// served waits until each address is answered by one MAC on the client's link. One
// that has just been set up may get its carrier a second later.
func served(tb testing.TB, client *netlab.Node, by string) time.Duration {
	tb.Helper()
	return servedOn(tb, client, "eth0", by)
}

func servedOn(tb testing.TB, client *netlab.Node, link, by string) time.Duration {
	tb.Helper()
	return netlab.Eventually(tb, 10*time.Second, func() string {
		for _, vip := range vips {
			if got := whoHasOn(tb, client, link, vip); len(got) != 1 || got[0].hardware().String() != by {
				return fmt.Sprintf("%s is answered by %v, want %s", vip, got, by)
			}
		}
		return ""
	})
}

// TestLinkFlaps takes the link away in several ways, and brings it back.
func TestLinkFlaps(t *testing.T) {
	for _, c := range []struct {
		name string
		flap func(sw *netlab.Switch, node *netlab.Node, port string, a *remote)
	}{
		{"set down and up, nobody tells", func(_ *netlab.Switch, node *netlab.Node, _ string, _ *remote) {
			node.Run("ip", "link", "set", "eth0", "down")
			node.Run("ip", "link", "set", "eth0", "up")
		}},
		{"another MAC, told", func(_ *netlab.Switch, node *netlab.Node, _ string, a *remote) {
			node.Run("ip", "link", "set", "eth0", "address", "02:00:00:00:77:01")
			a.tell(order{Links: []string{"eth0"}})
		}},
		{"the cable is pulled and put back, told", func(sw *netlab.Switch, _ *netlab.Node, port string, a *remote) {
			sw.Run("ip", "link", "set", port, "down")
			a.tell(order{Links: []string{"eth0"}})
			time.Sleep(100 * time.Millisecond)
			sw.Run("ip", "link", "set", port, "up")
			a.tell(order{Links: []string{"eth0"}})
		}},
		{"the device is replaced, told", func(sw *netlab.Switch, node *netlab.Node, _ string, a *remote) {
			node.Run("ip", "link", "del", "eth0")
			a.tell(order{Links: []string{"eth0"}})
			sw.Attach(node, "eth0", "192.0.2.1/24", "2001:db8::1/64")
			a.tell(order{Links: []string{"eth0"}})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lab, sw, client := segment(t)
			node := lab.Node("n1")
			port := sw.Attach(node, "eth0", "192.0.2.1/24", "2001:db8::1/64")
			a := startAnnouncer(t, node, false)
			a.claim(addrs(vips...)...)
			served(t, client, macOf(node, "eth0"))
			time.Sleep(4500 * time.Millisecond) // the first burst is over
			before := a.stats("eth0")
			c.flap(sw, node, port, a)
			took := served(t, client, macOf(node, "eth0"))
			netlab.Eventually(t, 10*time.Second, func() string {
				now := a.stats("eth0")
				if now.ARP.Announcements < before.ARP.Announcements+3 || now.NDP.Announcements < before.NDP.Announcements+3 {
					return fmt.Sprintf("not announced again: %+v", now)
				}
				return ""
			})
			if got := groupsOf(node); got < 2 {
				t.Errorf("%d groups joined", got)
			}
			t.Logf("answered again after %v", took.Round(time.Millisecond))
		})
	}
}

// TestLinkThatComesLater claims on a link that is not there yet.
func TestLinkThatComesLater(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	node := lab.Node("n1")
	a := startAnnouncer(t, node, false)
	table := plan.Table{Claims: []plan.Claim{{Addr: vip4, Links: []string{"eth0"}}, {Addr: vip6, Links: []string{"eth0"}}}}
	if said := a.tell(order{Table: &table}); !strings.Contains(said.Error, "link eth0: ") {
		t.Errorf("a claim on a link that is not there is no error: %q", said.Error)
	}
	sw.Attach(node, "eth0", "192.0.2.1/24", "2001:db8::1/64")
	served(t, client, macOf(node, "eth0"))
	if s := a.stats("eth0"); s.Error != "" || !s.Up || s.Addresses != 2 {
		t.Errorf("when all is well: %+v", s)
	}
}

// TestKindsOfLink claims on interfaces that are made of others. VLANs and bonds
// have tests of their own.
func TestKindsOfLink(t *testing.T) {
	if kernel.Rerun(t, kernel.Macvlan) {
		return
	}
	for _, c := range []struct{ kind, link, add string }{
		{"macvlan", "mv0", "ip link add link eth0 name mv0 type macvlan mode bridge"},
		{"bridge", "br0", "ip link add name br0 type bridge forward_delay 0 mcast_snooping 0; ip link set eth0 master br0"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			lab, sw, client := segment(t)
			node := lab.Node("n1")
			sw.Attach(node, "eth0")
			node.Run("sh", "-c", c.add)
			node.Addr(c.link, "192.0.2.1/24", "2001:db8::1/64")
			a := startAnnouncer(t, node, false)
			a.claimOn(c.link, addrs(vips...)...)
			served(t, client, macOf(node, c.link))
		})
	}
}

// TestOtherVLAN asks within a VLAN that has no interface on the node. The kernel
// takes the tag off and hands the frame over, but it is not ours to answer.
func TestOtherVLAN(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	a := startAnnouncer(t, server(t, lab, sw, 1), false)
	a.claim(addrs(vips...)...)
	for _, vip := range vips {
		w := openWire(t, client, "eth0", protocolOf(vip))
		w.send(with(w.request(addrs(vip)[0]), tagged))
	}
	time.Sleep(300 * time.Millisecond)
	if s := a.stats("eth0"); s.ARP.Frames+s.NDP.Frames != 0 {
		t.Errorf("frames of a VLAN that is not ours come through: %+v", s)
	}
}

// TestReannounce has all announced again on demand, and corrects a client whose
// cache went wrong meanwhile.
func TestReannounce(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	node := server(t, lab, sw, 1)
	a := startAnnouncer(t, node, false)
	a.claim(addrs(vips...)...)
	time.Sleep(4500 * time.Millisecond)
	for _, vip := range vips {
		client.Run("ip", "neigh", "replace", vip, "lladdr", "02:00:00:00:66:66", "dev", "eth0", "nud", "reachable")
	}
	w := openWire(t, client, "eth0", unix.ETH_P_ARP)
	a.tell(order{Reannounce: "a test asks for it"})
	if n := announced(w, vips[0], 1500*time.Millisecond); n < 3 {
		t.Errorf("announced %d times", n)
	}
	for _, vip := range vips {
		if got, _ := neighbourOf(client, vip); got != macOf(node, "eth0") {
			t.Errorf("the client has %s at %s", vip, got)
		}
	}
}

// TestWithdrawnIsNotAnnounced withdraws in the middle of the burst.
func TestWithdrawnIsNotAnnounced(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	a := startAnnouncer(t, server(t, lab, sw, 1), false)
	four, six := scattered(200)
	a.claim(append(four, six...)...)
	ears := []*wire{openWire(t, client, "eth0", unix.ETH_P_ARP), openWire(t, client, "eth0", unix.ETH_P_IPV6)}
	ears[0].read(5 * time.Millisecond) // some announcements
	a.claim(addrs(vips...)...)
	for _, w := range ears {
		w.read(5 * time.Millisecond) // what was on its way
	}
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); {
		for _, w := range ears {
			for _, f := range w.read(20 * time.Millisecond) {
				if got, _, ok := claimIn(f); ok && !slices.Contains(addrs(vips...), got) {
					t.Fatalf("%v is announced after it was withdrawn", got)
				}
			}
		}
	}
}
