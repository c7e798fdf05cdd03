package podnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAddressesAreGivenInTurn(t *testing.T) {
	n := network(t, "x")
	var got []int
	for range 3 {
		got = append(got, must(n.take())(t))
	}
	delete(n.used, 2)
	got = append(got, must(n.take())(t))
	n.last = lastPart
	got = append(got, must(n.take())(t))
	if fmt.Sprint(got) != "[2 3 4 5 2]" {
		t.Errorf("got %v: an address must rest before it is used again", got)
	}
}

func TestNoAddressLeft(t *testing.T) {
	n := network(t, "x")
	for range lastPart - firstPart + 1 {
		must(n.take())(t)
	}
	if _, err := n.take(); err == nil {
		t.Error("a 254th address was given out")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00::/64")
	for desc, o := range map[string]Options{
		"no name":          {CIDR4: v4, CIDR6: v6},
		"no IPv6":          {Prefix: "x", CIDR4: v4},
		"families swapped": {Prefix: "x", CIDR4: v6, CIDR6: v4},
		"IPv4 too small":   {Prefix: "x", CIDR4: netip.MustParsePrefix("10.0.0.0/25"), CIDR6: v6},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", desc)
		}
	}
}

// Two pods of a real node namespace reach each other, the node and both families.
func TestPodsReachEachOther(t *testing.T) {
	node := nodeNamespace(t)
	n := network(t, node+"-pod")
	inNode := func(f func(ctx context.Context) error) {
		t.Helper()
		if err := InNetNS(netnsPath(node), func() error { return f(context.Background()) }); err != nil {
			t.Fatal(err)
		}
	}
	var a, b Pod
	inNode(func(ctx context.Context) error {
		var errA, errB error
		a, errA = n.Add(ctx, "0000000a")
		b, errB = n.Add(ctx, "0000000b")
		return errors.Join(errA, errB)
	})
	t.Cleanup(func() {
		inNode(func(ctx context.Context) error { return errors.Join(n.Remove(ctx, a), n.Remove(ctx, b)) })
	})
	for i, gateway := range []string{"10.244.1.1", "fd00:244:1::1"} {
		exchange(t, a.Name, b.Name, b.Addrs[i])
		exchange(t, a.Name, node, netip.MustParseAddr(gateway))
		exchange(t, node, a.Name, a.Addrs[i])
	}

	left := must(n.Leftovers())(t)
	if len(left) != 2 || left[0].ID != "0000000a" {
		t.Errorf("leftovers %v, want both pods", left)
	}
	inNode(func(ctx context.Context) error { return n.Remove(ctx, a) })
	routes, _ := exec.Command("ip", "-n", node, "route").CombinedOutput()
	if strings.Contains(string(routes), a.Addrs[0].String()) {
		t.Errorf("route of the removed pod is still there:\n%s", routes)
	}
	if len(must(n.Leftovers())(t)) != 1 {
		t.Error("the removed pod's namespace is still there")
	}
}

func network(t *testing.T, prefix string) *Network {
	t.Helper()
	return must(New(Options{
		Prefix: prefix,
		CIDR4:  netip.MustParsePrefix("10.244.1.0/24"),
		CIDR6:  netip.MustParsePrefix("fd00:244:1::/64"),
	}))(t)
}

// nodeNamespace makes a namespace that forwards, and first removes those of
// earlier tests that were killed.
func nodeNamespace(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	const prefix = "podnet-test-"
	reapStale(t, prefix)
	name := prefix + strconv.Itoa(os.Getpid())
	ctx := context.Background()
	if err := ip(ctx, "netns", "add", name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ip(ctx, "netns", "del", name) })
	err := InNetNS(netnsPath(name), func() error {
		return errors.Join(noAddressDetection(), SetSysctl("net.ipv4.ip_forward", "1"), SetSysctl("net.ipv6.conf.all.forwarding", "1"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func reapStale(t *testing.T, prefix string) {
	t.Helper()
	entries, _ := os.ReadDir("/run/netns")
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), prefix)
		pid, _, _ := strings.Cut(rest, "-")
		if _, err := os.Stat("/proc/" + pid); ok && os.IsNotExist(err) {
			_ = ip(context.Background(), "netns", "del", e.Name())
		}
	}
}

// exchange sends a datagram to an address of another namespace and wants it
// to arrive within a second, from the first packet on.
func exchange(t *testing.T, from, at string, to netip.Addr) {
	t.Helper()
	var server, client net.Conn
	err := errors.Join(
		InNetNS(netnsPath(at), func() (err error) {
			server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 7000)))
			return err
		}),
		InNetNS(netnsPath(from), func() (err error) {
			client, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 7000)))
			return err
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	defer client.Close()
	_, sendErr := client.Write([]byte("hello"))
	_ = server.SetReadDeadline(time.Now().Add(time.Second))
	n, recvErr := server.Read(make([]byte, 16))
	if err := errors.Join(sendErr, recvErr); err != nil || n != 5 {
		t.Errorf("from %s to %s: %d bytes, %v", from, to, n, err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
