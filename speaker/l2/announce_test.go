package l2

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

// segment is a switch with a client on it.
func segment(tb testing.TB) (*netlab.Lab, *netlab.Switch, *netlab.Node) {
	tb.Helper()
	lab := netlab.New(tb)
	sw := lab.Switch("sw")
	client := lab.Node("client")
	sw.Attach(client, "eth0", "192.0.2.99/24", "2001:db8::99/64")
	return lab, sw, client
}

// TestClientResolves has a client's kernel talk to addresses that are bound
// nowhere; the node redirects them to itself, as kube-proxy would.
func TestClientResolves(t *testing.T) {
	lab, sw, client := segment(t)
	node := lab.Node("n1")
	sw.Attach(node, "eth0", "192.0.2.1/24", "2001:db8::1/64")
	serveVIPs(t, node)
	a := startAnnouncer(t, node, false)
	a.claim(addrs("192.0.2.200", "2001:db8::200")...)
	for _, vip := range []string{"192.0.2.200", "2001:db8::200"} {
		if _, err := ask(dial(t, client, vip), 2*time.Second); err != nil {
			t.Errorf("%s: %v", vip, err)
		}
	}
	a.claim()
	for _, vip := range addrs("192.0.2.200", "2001:db8::200") {
		proto := unix.ETH_P_IPV6
		if vip.Is4() {
			proto = unix.ETH_P_ARP
		}
		w := openWire(t, client, "eth0", proto)
		if got := w.answerers(addrs(vip.String()), 300*time.Millisecond); len(got) != 0 {
			t.Errorf("%v is answered after it was withdrawn: %v", vip, got)
		}
	}
}

// serveVIPs has a node answer UDP for the service addresses of the tests, which
// are redirected to it as kube-proxy would.
func serveVIPs(tb testing.TB, n *netlab.Node) {
	tb.Helper()
	n.Run("nft", `add table inet t; add chain inet t pre { type nat hook prerouting priority -100; };
		add rule inet t pre ip daddr 192.0.2.128/25 redirect;
		add rule inet t pre ip6 daddr 2001:db8::200/120 redirect`)
	inside(tb, n, func() {
		c, err := net.ListenPacket("udp", ":7777")
		if err != nil {
			tb.Errorf("listen on %s: %v", n.Name, err)
			return
		}
		tb.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 64)
			for {
				k, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				c.WriteTo(append(buf[:k:k], n.Name...), from)
			}
		}()
	})
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
func ask(c net.Conn, limit time.Duration) (string, error) {
	if _, err := c.Write([]byte("?")); err != nil {
		return "", err
	}
	c.SetReadDeadline(time.Now().Add(limit))
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	return strings.TrimPrefix(string(buf[:n]), "?"), err
}

// neighbour is the MAC that a node's kernel has for an address.
func neighbourOf(n *netlab.Node, addr string) string {
	fields := strings.Fields(n.Run("ip", "neigh", "show", addr))
	if i := slices.Index(fields, "lladdr"); i >= 0 {
		return fields[i+1]
	}
	return ""
}
