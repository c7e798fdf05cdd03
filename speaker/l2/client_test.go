package l2

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

// The addresses that the tests in this file claim.
var vips = []string{"192.0.2.200", "2001:db8::200"}

// segment is a switch with a client on it.
func segment(tb testing.TB) (*netlab.Lab, *netlab.Switch, *netlab.Node) {
	tb.Helper()
	lab := netlab.New(tb)
	sw := lab.Switch("sw")
	client := lab.Node("client")
	sw.Attach(client, "eth0", "192.0.2.99/24", "2001:db8::99/64")
	return lab, sw, client
}

// server makes the i-th node, which answers UDP for service addresses.
func server(tb testing.TB, lab *netlab.Lab, sw *netlab.Switch, i int) *netlab.Node {
	tb.Helper()
	n := lab.Node(fmt.Sprintf("n%d", i))
	sw.Attach(n, "eth0", fmt.Sprintf("192.0.2.%d/24", i), fmt.Sprintf("2001:db8::%d/64", i))
	serveVIPs(tb, n)
	return n
}

// serveVIPs has a node answer UDP for the service addresses of the tests, which
// are redirected to it as kube-proxy would.
func serveVIPs(tb testing.TB, n *netlab.Node) {
	tb.Helper()
	n.Run("nft", `add table inet t; add chain inet t pre { type nat hook prerouting priority -100; };
		add rule inet t pre ip daddr 192.0.2.128/25 udp dport 7777 redirect;
		add rule inet t pre ip6 daddr 2001:db8::200/120 udp dport 7777 redirect`)
	inside(tb, n, func() {
		c, err := net.ListenPacket("udp", ":7777")
		if err != nil {
			tb.Errorf("listen on %s: %v", n.Name, err)
			return
		}
		tb.Cleanup(func() { c.Close() })
		go echo(c, n.Name)
	})
}

func echo(c net.PacketConn, name string) {
	buf := make([]byte, 64)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		c.WriteTo([]byte(name), from)
	}
}

// dial opens a UDP socket of a node to a service address.
func dial(tb testing.TB, n *netlab.Node, addr string) (c net.Conn) {
	tb.Helper()
	inside(tb, n, func() {
		var err error
		if c, err = net.Dial("udp", net.JoinHostPort(addr, "7777")); err != nil {
			tb.Errorf("dial %s on %s: %v", addr, n.Name, err)
		}
	})
	if c == nil {
		tb.FailNow()
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// ask sends one datagram and waits for its answer, which names the node.
func ask(c net.Conn, limit time.Duration) string {
	c.Write([]byte("?"))
	c.SetReadDeadline(time.Now().Add(limit))
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

// macOf is the MAC of a node's interface.
func macOf(n *netlab.Node, link string) string {
	fields := strings.Fields(n.Run("ip", "-br", "link", "show", link))
	return fields[2]
}

// neighbourOf is what a node's kernel knows of an address: MAC and state.
func neighbourOf(n *netlab.Node, addr string) (lladdr, state string) {
	fields := strings.Fields(n.Run("ip", "neigh", "show", addr))
	if len(fields) == 0 {
		return "", ""
	}
	if i := slices.Index(fields, "lladdr"); i >= 0 {
		lladdr = fields[i+1]
	}
	return lladdr, fields[len(fields)-1]
}

// sysctl sets what nsenter's view of /proc/sys shows of a node's network.
func neighSetting(n *netlab.Node, setting string, value int) {
	for _, family := range []string{"ipv4", "ipv6"} {
		n.Run("sysctl", "-qw", fmt.Sprintf("net.%s.neigh.eth0.%s=%d", family, setting, value))
	}
}

func TestClientResolves(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	a := startAnnouncer(t, server(t, lab, sw, 1), false)
	a.claim(addrs(vips...)...)
	for _, vip := range vips {
		if got := ask(dial(t, client, vip), 2*time.Second); got != "n1" {
			t.Errorf("%s: %s", vip, got)
		}
	}
	a.claim()
	for _, vip := range vips {
		if got := whoHas(t, client, vip); len(got) != 0 {
			t.Errorf("%s is answered after it was withdrawn, by %v", vip, got)
		}
	}
}

// whoHas asks the segment for one address.
func whoHas(tb testing.TB, n *netlab.Node, addr string) []mac {
	tb.Helper()
	return whoHasOn(tb, n, "eth0", addr)
}

// answered fails the test unless exactly the interfaces with the MACs answer for
// an address on a link of the asking node.
func answered(tb testing.TB, asks *netlab.Node, link, addr string, by ...string) {
	tb.Helper()
	var got []string
	for _, m := range whoHasOn(tb, asks, link, addr) {
		got = append(got, m.hardware().String())
	}
	if !slices.Equal(got, by) {
		tb.Errorf("%s is answered to %s on %s by %v, want %v", addr, asks.Name, link, got, by)
	}
}

func whoHasOn(tb testing.TB, n *netlab.Node, link, addr string) []mac {
	tb.Helper()
	a := addrs(addr)
	w := openWire(tb, n, link, protocolOf(addr))
	return w.answerers(a, 200*time.Millisecond)[a[0]]
}

func protocolOf(addr string) int {
	if strings.Contains(addr, ":") {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_ARP
}

// TestUnicastProbes has a client's kernel verify its neighbours every second
// with nothing but unicast probes: one that is not answered ends the entry.
func TestUnicastProbes(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	neighSetting(client, "base_reachable_time_ms", 1000)
	neighSetting(client, "delay_first_probe_time", 1)
	a := startAnnouncer(t, server(t, lab, sw, 1), false)
	a.claim(addrs(vips...)...)
	var conns []net.Conn
	for _, vip := range vips {
		conns = append(conns, dial(t, client, vip))
	}
	for _, c := range conns {
		if got := ask(c, 2*time.Second); got != "n1" {
			t.Fatal(got)
		}
	}
	neighSetting(client, "mcast_solicit", 0)
	netlab.Always(t, 8*time.Second, func() string {
		for i, c := range conns {
			if got := ask(c, time.Second); got != "n1" {
				return fmt.Sprintf("%s: %s", vips[i], got)
			}
			if _, state := neighbourOf(client, vips[i]); state == "FAILED" {
				return vips[i] + " is FAILED"
			}
		}
		return ""
	})
	s := a.stats("eth0")
	if s.ARP.Unicast < 2 || s.NDP.Unicast < 2 {
		t.Errorf("unicast probes: %d by ARP and %d by NDP, want 2 of each at least", s.ARP.Unicast, s.NDP.Unicast)
	}
}

// TestHandover lets one node die without a word, and another take over.
func TestHandover(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	n1, n2 := server(t, lab, sw, 1), server(t, lab, sw, 2)
	first, second := startAnnouncer(t, n1, false), startAnnouncer(t, n2, false)
	first.claim(addrs(vips...)...)
	var conns []net.Conn
	for _, vip := range vips {
		c := dial(t, client, vip)
		if got := ask(c, 2*time.Second); got != "n1" {
			t.Fatalf("%s: %s", vip, got)
		}
		conns = append(conns, c)
	}
	first.Signal(syscall.SIGKILL)
	first.Wait(5 * time.Second)
	n1.Run("ip", "link", "set", "eth0", "down")
	start := time.Now()
	second.claim(addrs(vips...)...)
	for i, vip := range vips {
		took := netlab.Eventually(t, 3*time.Second, func() string {
			if got, _ := neighbourOf(client, vip); got != macOf(n2, "eth0") {
				return vip + " is still at " + got
			}
			return ""
		})
		if got := ask(conns[i], time.Second); got != "n2" {
			t.Errorf("%s is answered by %s", vip, got)
		}
		t.Logf("%s: the client's cache follows within %v", vip, took.Round(time.Millisecond))
	}
	t.Logf("both addresses served by the new owner %v after its table", time.Since(start).Round(time.Millisecond))
}

// TestGracefulHandover has both nodes answer for a moment. That is no conflict,
// and no datagram is lost.
func TestGracefulHandover(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	n1, n2 := server(t, lab, sw, 1), server(t, lab, sw, 2)
	first, second := startAnnouncer(t, n1, true), startAnnouncer(t, n2, true)
	peers := map[string]string{macOf(n1, "eth0"): "n1", macOf(n2, "eth0"): "n2"}
	first.tell(order{Peers: peers})
	second.tell(order{Peers: peers})
	first.claim(addrs(vips...)...)
	for _, vip := range vips {
		if got := ask(dial(t, client, vip), 2*time.Second); got != "n1" {
			t.Fatalf("%s: %s", vip, got)
		}
	}
	second.claim(addrs(vips...)...)
	for _, vip := range vips {
		if got := ask(dial(t, client, vip), 50*time.Millisecond); got != "n1" && got != "n2" {
			t.Errorf("%s while both own it: %s", vip, got)
		}
	}
	first.claim()
	for _, vip := range vips {
		if got := ask(dial(t, client, vip), 200*time.Millisecond); got != "n2" {
			t.Errorf("%s after the handover: %s", vip, got)
		}
	}
	time.Sleep(3500 * time.Millisecond)
	for _, r := range []*remote{first, second} {
		if got := r.tell(order{}).Conflicts; len(got) != 0 {
			t.Errorf("a handover is told of as a conflict: %+v", got)
		}
	}
	for _, vip := range vips {
		if got, _ := neighbourOf(client, vip); got != macOf(n2, "eth0") {
			t.Errorf("%s is at %s in the client's cache at last", vip, got)
		}
	}
}

// TestDuplicateAddressDetection has a client take an address of ours: its kernel
// must find out that it is taken.
func TestDuplicateAddressDetection(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	a := startAnnouncer(t, server(t, lab, sw, 1), false)
	a.claim(addrs(vips...)...)
	client.Run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=1", "net.ipv6.conf.eth0.accept_dad=1", "net.ipv6.conf.eth0.forwarding=0")
	client.Run("ip", "addr", "add", "2001:db8::200/64", "dev", "eth0")
	netlab.Eventually(t, 5*time.Second, func() string {
		if out := client.Run("ip", "addr", "show", "dev", "eth0"); !strings.Contains(out, "dadfailed") {
			return "duplicate address detection has not failed: " + out
		}
		return ""
	})
	w := openWire(t, client, "eth0", unix.ETH_P_ARP)
	w.send(probeARP(w.mac, vip4))
	for _, f := range w.read(300 * time.Millisecond) {
		if a, _, ok := claimIn(f); ok && a == vip4 && mac(f[offDst:]) == w.mac {
			return
		}
	}
	t.Error("an ARP probe for an address of ours is not answered")
}
