package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sort"
	"strings"
)

// sysctls of every namespace, set before it has links, so that these inherit
// them. Duplicate address detection would cost the first second of IPv6.
var sysctls = map[string]string{
	"net.ipv4.conf.all.rp_filter":          "0",
	"net.ipv4.conf.default.rp_filter":      "0",
	"net.ipv6.conf.all.disable_ipv6":       "0",
	"net.ipv6.conf.default.disable_ipv6":   "0",
	"net.ipv6.conf.all.accept_dad":         "0",
	"net.ipv6.conf.default.accept_dad":     "0",
	"net.ipv6.conf.all.accept_ra":          "0",
	"net.ipv6.conf.default.accept_ra":      "0",
	"net.ipv4.ping_group_range":            "0 2147483647",
	"net.ipv4.conf.all.send_redirects":     "0",
	"net.ipv4.conf.default.send_redirects": "0",
}

var forwarding = map[string]string{
	"net.ipv4.ip_forward":          "1",
	"net.ipv6.conf.all.forwarding": "1",
}

// hashing makes the router choose a next hop by addresses, protocol and ports.
// Policy 1 would do in a real router; over a veth it uses the hash of the
// sender's socket, which Linux changes as it likes, and flows wander.
var hashing = map[string]string{
	"net.ipv4.fib_multipath_hash_policy": "3",
	"net.ipv4.fib_multipath_hash_fields": "55",
	"net.ipv6.fib_multipath_hash_policy": "3",
	"net.ipv6.fib_multipath_hash_fields": "55",
}

// switching keeps the host's packet filter hooks away from bridged packets. Where
// their module is not loaded there are no such settings, and no hooks.
func switching() map[string]string {
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		return nil
	}
	return map[string]string{
		"net.bridge.bridge-nf-call-iptables":  "0",
		"net.bridge.bridge-nf-call-ip6tables": "0",
		"net.bridge.bridge-nf-call-arptables": "0",
	}
}

func (l *Lab) makeNetns(ctx context.Context, place string, more ...map[string]string) error {
	ns := l.ns(place)
	if _, err := run(ctx, "", "ip", "netns", "add", ns); err != nil {
		return err
	}
	var settings []string
	for _, m := range append(more, sysctls) {
		for k, v := range m {
			settings = append(settings, k+"="+v)
		}
	}
	sort.Strings(settings)
	if _, err := output(l.command(ctx, ns, append([]string{"sysctl", "-q", "-w"}, settings...)...), ""); err != nil {
		return err
	}
	return ip(ctx, ns, "link set lo up")
}

// makeNetwork makes everything but the nodes.
func (l *Lab) makeNetwork(ctx context.Context) error {
	// kube-proxy writes settings of connection tracking before anything loads its
	// module. Where it is built in, or modprobe is missing, this fails for good.
	_, _ = run(ctx, "", "modprobe", "nf_conntrack")
	places := []struct {
		place string
		more  []map[string]string
	}{
		{lan, []map[string]string{switching()}},
		{Router, []map[string]string{forwarding, hashing}},
		{Ext, nil},
		{LANClient, nil},
		{CP, nil},
	}
	for _, p := range places {
		if err := l.makeNetns(ctx, p.place, p.more...); err != nil {
			return err
		}
	}
	for _, s := range l.segments() {
		if err := l.makeSegment(ctx, s); err != nil {
			return err
		}
	}
	if err := l.linkRouter(ctx); err != nil {
		return err
	}
	if err := l.plug(ctx, CP, CP4, CP6); err != nil {
		return err
	}
	return l.plug(ctx, LANClient, LANClient4, LANClient6)
}

// makeSegment makes a switch and connects it to the router. Without a querier
// snooping would lose neighbour discovery.
func (l *Lab) makeSegment(ctx context.Context, s segment) error {
	if err := ip(ctx, l.ns(lan),
		"link add "+s.bridge+" type bridge forward_delay 0 mcast_snooping 0", "link set "+s.bridge+" up",
		"link add "+s.port+" type veth peer name "+s.link+" netns "+l.ns(Router), "link set "+s.port+" master "+s.bridge+" up"); err != nil {
		return err
	}
	return ip(ctx, l.ns(Router), "link set "+s.link+" up",
		"addr add "+s.router4+"/24 dev "+s.link, "addr add "+s.router6+"/64 dev "+s.link+" nodad")
}

// linkRouter connects the router to ext, and tells it where pods are.
func (l *Lab) linkRouter(ctx context.Context) error {
	lines := []string{
		"link add ext0 type veth peer name eth0 netns " + l.ns(Ext), "link set ext0 up",
		"addr add " + RouterExt4 + "/24 dev ext0", "addr add " + RouterExt6 + "/64 dev ext0 nodad",
	}
	for _, n := range l.Nodes() {
		lines = append(lines, podRoutes(n)...)
	}
	if err := ip(ctx, l.ns(Router), lines...); err != nil {
		return err
	}
	return ip(ctx, l.ns(Ext), "link set eth0 up",
		"addr add "+Ext4+"/24 dev eth0", "addr add "+Ext6+"/64 dev eth0 nodad",
		"route add default via "+RouterExt4, "route add ::/0 via "+RouterExt6)
}

// podRoutes lets pods be reached without any overlay.
func podRoutes(n Node) []string {
	return []string{
		"route replace " + n.PodCIDR4 + " via " + n.Addr4,
		"route replace " + n.PodCIDR6 + " via " + n.Addr6,
	}
}

// plug connects a place to its switch.
func (l *Lab) plug(ctx context.Context, place, addr4, addr6 string) error {
	port, s := portName(place), l.segmentOf(place)
	if err := ip(ctx, l.ns(lan),
		"link add "+port+" type veth peer name eth0 address "+mac(addr4)+" netns "+l.ns(place), "link set "+port+" master "+s.bridge+" up"); err != nil {
		return err
	}
	return ip(ctx, l.ns(place), "link set eth0 up",
		"addr add "+addr4+"/24 dev eth0", "addr add "+addr6+"/64 dev eth0 nodad",
		"route add default via "+s.router4, "route add ::/0 via "+s.router6)
}

// mac makes a link's address of the host's: a machine that was switched off
// comes back with the one that its neighbours remember.
func mac(addr4 string) string {
	b := netip.MustParseAddr(addr4).As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// portName must fit into an interface's name.
func portName(place string) string { return strings.ReplaceAll(place, "-", "") }

// makeNode makes a node's namespace, link and routes, as after a reboot. To the
// pods of another segment the router knows the way.
func (l *Lab) makeNode(ctx context.Context, n Node) error {
	if err := l.makeNetns(ctx, n.Name, forwarding); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	if err := l.plug(ctx, n.Name, n.Addr4, n.Addr6); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	var lines []string
	for _, other := range l.Nodes() {
		if other != n && l.segmentOf(other.Name) == l.segmentOf(n.Name) {
			lines = append(lines, podRoutes(other)...)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return ip(ctx, l.ns(n.Name), lines...)
}
