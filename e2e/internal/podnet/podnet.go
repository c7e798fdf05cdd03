// Package podnet gives pods a network: a namespace each, joined to the node by
// a routed pair of links. There is no bridge, so the node forwards between its
// pods and sees every packet, as with the routed networks of real clusters.
package podnet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Options describe one node's pod network.
type Options struct {
	Prefix string       // required; of the namespaces' names, this node's alone
	CIDR4  netip.Prefix // the node's share of the pod addresses
	CIDR6  netip.Prefix
}

// Network makes and removes the namespaces of one node. The calling process
// must be in the node's network namespace.
type Network struct {
	opts Options

	mu   sync.Mutex
	last int          // host part that was given out last
	used map[int]bool // host parts in use, the same in both families
}

// Pod is one pod's place in the network.
type Pod struct {
	Name     string // of the namespace, below /run/netns
	ID       string
	Addrs    []netip.Addr // IPv4 first
	hostPart int
}

// Path is the file that stands for the namespace.
func (p Pod) Path() string { return netnsPath(p.Name) }

func netnsPath(name string) string { return filepath.Join("/run/netns", name) }

// idPattern is what tells a pod's namespace from any other with our prefix.
var idPattern = regexp.MustCompile(`^[0-9a-f]{8}$`)

const (
	gatewayPart = 1
	firstPart   = 2
	lastPart    = 254
)

// New checks the options; it changes nothing on the machine.
func New(o Options) (*Network, error) {
	if o.Prefix == "" {
		return nil, fmt.Errorf("pod network: no name prefix")
	}
	if !o.CIDR4.Addr().Is4() || o.CIDR4.Bits() > 24 || !o.CIDR6.Addr().Is6() || o.CIDR6.Bits() > 112 {
		return nil, fmt.Errorf("pod network %v, %v: need an IPv4 /24 and an IPv6 /112 or larger", o.CIDR4, o.CIDR6)
	}
	return &Network{opts: o, last: firstPart - 1, used: map[int]bool{}}, nil
}

// Add makes the namespace of the pod with this ID, eight hexadecimal digits.
func (n *Network) Add(ctx context.Context, id string) (Pod, error) {
	if !idPattern.MatchString(id) {
		return Pod{}, fmt.Errorf("pod network %q: not eight hexadecimal digits", id)
	}
	part, err := n.take()
	if err != nil {
		return Pod{}, fmt.Errorf("pod network %s: %w", id, err)
	}
	p := Pod{
		Name:     n.opts.Prefix + "-" + id,
		ID:       id,
		Addrs:    []netip.Addr{hostAddr(n.opts.CIDR4, part), hostAddr(n.opts.CIDR6, part)},
		hostPart: part,
	}
	if err := n.join(ctx, p); err != nil {
		_ = n.Remove(context.WithoutCancel(ctx), p)
		return Pod{}, fmt.Errorf("pod network %s: %w", id, err)
	}
	return p, nil
}

func (n *Network) join(ctx context.Context, p Pod) error {
	if err := ip(ctx, "netns", "add", p.Name); err != nil {
		return err
	}
	// Without this the pod's addresses of IPv6 are of no use for a second.
	err := InNetNS(p.Path(), noAddressDetection)
	if err != nil {
		return err
	}
	gw4, gw6 := hostAddr(n.opts.CIDR4, gatewayPart), hostAddr(n.opts.CIDR6, gatewayPart)
	link := linkName(p.ID)
	err = ipBatch(ctx, nil,
		"link add %s type veth peer name eth0 netns %s", link, p.Name,
		"addr add %s/32 dev %s", gw4, link,
		"addr add %s/128 dev %s nodad", gw6, link,
		"link set %s up", link,
		"route add %s/32 dev %s", p.Addrs[0], link,
		"route add %s/128 dev %s", p.Addrs[1], link,
	)
	if err != nil {
		return err
	}
	return ipBatch(ctx, []string{"-n", p.Name},
		"link set lo up",
		"addr add %s/32 dev eth0", p.Addrs[0],
		"addr add %s/128 dev eth0 nodad", p.Addrs[1],
		"link set eth0 up",
		"route add %s/32 dev eth0", gw4,
		"route add default via %s src %s", gw4, p.Addrs[0],
		"route add %s/128 dev eth0", gw6,
		"route add default via %s src %s", gw6, p.Addrs[1],
	)
}

// Remove takes the pod's network away and frees its addresses.
func (n *Network) Remove(ctx context.Context, p Pod) error {
	// The kernel takes links away some time after their namespace; the node's
	// routes to the pod must go now, since the addresses may be given out again.
	_ = ip(ctx, "link", "del", linkName(p.ID))
	n.mu.Lock()
	delete(n.used, p.hostPart)
	n.mu.Unlock()
	if _, err := os.Lstat(p.Path()); os.IsNotExist(err) {
		return nil
	}
	return ip(ctx, "netns", "del", p.Name)
}

// Leftovers are the namespaces that an earlier run of this node has left.
func (n *Network) Leftovers() ([]Pod, error) {
	entries, err := os.ReadDir("/run/netns")
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pods []Pod
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), n.opts.Prefix+"-")
		if ok && idPattern.MatchString(id) {
			pods = append(pods, Pod{Name: e.Name(), ID: id})
		}
	}
	return pods, nil
}

// take gives addresses out in turn, so that those of a pod that has just ended
// rest for a while: connection tracking may still know them.
func (n *Network) take() (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range lastPart {
		n.last++
		if n.last > lastPart {
			n.last = firstPart
		}
		if !n.used[n.last] {
			n.used[n.last] = true
			return n.last, nil
		}
	}
	return 0, fmt.Errorf("no free address in %v", n.opts.CIDR4)
}

func hostAddr(p netip.Prefix, part int) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	b[len(b)-1] |= byte(part)
	a, _ := netip.AddrFromSlice(b)
	return a
}

func linkName(id string) string { return "pod" + id }
