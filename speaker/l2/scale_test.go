package l2

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

// scattered makes n addresses of each family, no two of which are neighbours:
// what an owner among several gets of a pool.
func scattered(n int) (four, six []netip.Addr) {
	for i := range n {
		a4, a6 := [4]byte{198, 18}, netip.MustParseAddr("2001:db8:5::").As16()
		binary.BigEndian.PutUint16(a4[2:], uint16(2*i+2))
		binary.BigEndian.PutUint16(a6[14:], uint16(2*i+2))
		four, six = append(four, netip.AddrFrom4(a4)), append(six, netip.AddrFrom16(a6))
	}
	return four, six
}

// TestThousands claims 1,000 and then 3,000 addresses of each family, more than
// one socket's share of groups and one exact filter.
func TestThousands(t *testing.T) {
	lab, sw, client := segment(t)
	node := server(t, lab, sw, 1)
	a := startAnnouncer(t, node, false)
	us := mac(mustMAC(macOf(node, "eth0")))
	heard := map[netip.Addr]bool{}
	for _, n := range []int{1000, 3000} {
		four, six := scattered(n)
		ears := []*wire{openWire(t, client, "eth0", unix.ETH_P_ARP), openWire(t, client, "eth0", unix.ETH_P_IPV6)}
		start := time.Now()
		said := a.claim(append(four[:n:n], six...)...)
		took := hear(ears, us, heard, 2*n, start)
		t.Logf("%d addresses of each family: applied in %v, %d announced within %v",
			n, said.Took.Round(time.Millisecond), len(heard), took.Round(time.Millisecond))
		if got := groupsOf(node); got < n {
			t.Errorf("%d groups joined for %d addresses", got, n)
		}
		time.Sleep(5 * time.Second) // the burst is over
		for i, list := range [][]netip.Addr{four, six} {
			w := openWire(t, client, "eth0", []int{unix.ETH_P_ARP, unix.ETH_P_IPV6}[i])
			exactlyOne(t, w.answerers(list, 500*time.Millisecond), list)
		}
		for _, addr := range append(four, six...) {
			if !heard[addr] {
				t.Fatalf("%v was never announced", addr)
			}
		}
	}
	a.claim(addrs(vips...)...)
	if got := groupsOf(node); got > 20 {
		t.Errorf("%d groups joined for one address", got)
	}
	four, _ := scattered(3000)
	w := openWire(t, client, "eth0", unix.ETH_P_ARP)
	if got := w.answerers(four[:200], 200*time.Millisecond); len(got) != 0 {
		t.Errorf("%d addresses answered after they were withdrawn", len(got))
	}
}

// hear listens for announcements until all addresses were announced, and
// tells when that was.
func hear(ears []*wire, us mac, heard map[netip.Addr]bool, all int, start time.Time) time.Duration {
	for time.Since(start) < 3*time.Second && len(heard) < all {
		for _, w := range ears {
			for _, f := range w.read(time.Millisecond) {
				if addr, m, ok := claimIn(f); ok && m == us {
					heard[addr] = true
				}
			}
		}
	}
	return time.Since(start)
}

// exactlyOne demands one answer for each address.
func exactlyOne(t *testing.T, got map[netip.Addr][]mac, want []netip.Addr) {
	t.Helper()
	bad := 0
	for _, a := range want {
		if len(got[a]) != 1 {
			if bad++; bad <= 3 {
				t.Errorf("%v is answered by %v", a, got[a])
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d addresses without exactly one answer", bad, len(want))
	}
}

// groupsOf counts the solicited-node groups that an interface is in.
func groupsOf(n *netlab.Node) (count int) {
	for line := range strings.Lines(n.Run("cat", "/proc/net/igmp6")) {
		if strings.Contains(line, "eth0") && strings.Contains(line, "ff0200000000000000000001ff") {
			count++
		}
	}
	return count
}

// TestSplitOwners has three nodes share 1,000 addresses, then two of them.
func TestSplitOwners(t *testing.T) {
	lab, sw, client := segment(t)
	four, six := scattered(500)
	all := append(four, six...)
	nodes := []*remote{}
	for i := range 3 {
		nodes = append(nodes, startAnnouncer(t, server(t, lab, sw, i+1), false))
	}
	share := func(owners int) {
		parts := make([][]netip.Addr, 3)
		for i, a := range all {
			parts[i%owners] = append(parts[i%owners], a)
		}
		for i, r := range nodes {
			r.claim(parts[i]...)
		}
		time.Sleep(200 * time.Millisecond)
		exactlyOne(t, openWire(t, client, "eth0", unix.ETH_P_ARP).answerers(four, 500*time.Millisecond), four)
		exactlyOne(t, openWire(t, client, "eth0", unix.ETH_P_IPV6).answerers(six, 500*time.Millisecond), six)
	}
	share(3)
	share(2)
}

// TestSmallSocketMemory claims thousands on a kernel that gives each socket the
// 20 KiB that was the default before Linux 6.6.
func TestSmallSocketMemory(t *testing.T) {
	lab, sw, client := segment(t)
	node := server(t, lab, sw, 1)
	if out, err := node.Try("sysctl", "-qw", "net.core.optmem_max=20480"); err != nil {
		t.Logf("not in this namespace alone, so the default stays: %s", out)
	}
	a := startAnnouncer(t, node, false)
	four, six := scattered(2000)
	a.claim(append(four, six...)...)
	if got := groupsOf(node); got < 2000 {
		t.Errorf("%d groups joined for 2,000 addresses", got)
	}
	time.Sleep(300 * time.Millisecond)
	exactlyOne(t, openWire(t, client, "eth0", unix.ETH_P_ARP).answerers(four, 500*time.Millisecond), four)
	exactlyOne(t, openWire(t, client, "eth0", unix.ETH_P_IPV6).answerers(six, 500*time.Millisecond), six)
}
