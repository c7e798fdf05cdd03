package netlab

import (
	"os/exec"
	"strings"
)

// Node is a network namespace.
type Node struct {
	lab  *Lab
	Name string // as given
	NS   string // of the namespace, as ip netns knows it
}

// Node makes a namespace with its loopback up. IPv6 addresses are usable at
// once, packets are forwarded between links, and flows are hashed over ports.
func (l *Lab) Node(name string) *Node {
	l.tb.Helper()
	n := &Node{lab: l, Name: name, NS: l.name + "-" + name}
	l.must("ip", "netns", "add", n.NS)
	l.tb.Cleanup(func() { deleteNamespace(n.NS) })
	n.sysctl(
		"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
		"net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
		"net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.fib_multipath_hash_policy=1", "net.ipv6.fib_multipath_hash_policy=1",
	)
	n.Run("ip", "link", "set", "lo", "up")
	return n
}

func (n *Node) sysctl(settings ...string) {
	n.lab.tb.Helper()
	n.lab.must("ip", append([]string{"netns", "exec", n.NS, "sysctl", "-qw"}, settings...)...)
}

// Addr adds addresses such as 192.0.2.1/24 to an interface and sets it up.
func (n *Node) Addr(ifname string, addrs ...string) {
	n.lab.tb.Helper()
	for _, a := range addrs {
		args := []string{"addr", "add", a, "dev", ifname}
		if strings.Contains(a, ":") {
			args = append(args, "nodad")
		}
		n.Run("ip", args...)
	}
	n.Run("ip", "link", "set", ifname, "up")
}

// Command is a command that will run in the namespace. Only the network is the
// namespace's: files and process ids are those of the test.
func (n *Node) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + n.NS, "--", name}, args...)...)
}

// Run runs a command in the namespace and returns what it wrote. It fails the
// test if the command fails.
func (n *Node) Run(name string, args ...string) string {
	n.lab.tb.Helper()
	out, err := n.Try(name, args...)
	if err != nil {
		n.lab.tb.Fatalf("netlab: on %s: %v", n.Name, err)
	}
	return out
}

// Try is Run for commands that may fail.
func (n *Node) Try(name string, args ...string) (string, error) {
	return run("nsenter", append([]string{"--net=/run/netns/" + n.NS, "--", name}, args...)...)
}

func (l *Lab) must(name string, args ...string) {
	l.tb.Helper()
	if _, err := run(name, args...); err != nil {
		l.tb.Fatalf("netlab: %v", err)
	}
}
