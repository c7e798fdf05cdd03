package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
)

const (
	vip4 = "10.200.0.1"
	vip6 = "fd00:200::1"
)

// rescueLab is a client, a router that hashes on ports, and nodes with two pods
// each, of which every node's kube-proxy knows its own alone
// (externalTrafficPolicy: Local).
type rescueLab struct {
	t              *testing.T
	client, router *netlab.Node
	nodes          []*rescueNode
	underlay6      bool // the overlay's
	gone           int  // number of a node of which the others know that it is
	ports          int  // of the client, that have been used
}

type rescueNode struct {
	*netlab.Node
	number int
	subnet int
	rescue *Rescue
	pods   *netlab.Node
	lan    *netlab.Switch
	port   string // of lan
}

func (n *rescueNode) v4() string { return fmt.Sprintf("10.99.%d.%d", n.subnet, n.number) }
func (n *rescueNode) v6() string { return fmt.Sprintf("fd99:%d::%d", n.subnet, n.number) }
func (n *rescueNode) mac() string {
	return fmt.Sprintf("02:00:00:00:00:%02x", n.number)
}

// newRescueLab makes a lab with a node for each number of a subnet.
func newRescueLab(t *testing.T, subnets ...int) *rescueLab {
	lab := netlab.New(t)
	l := &rescueLab{t: t, client: lab.Node("client"), router: lab.Node("router"), ports: 20000}
	lab.Pair(l.client, "eth0", l.router, "eth0")
	l.client.Addr("eth0", "10.1.0.2/24", "fd01::2/64")
	l.router.Addr("eth0", "10.1.0.1/24", "fd01::1/64")
	defaultRoute(l.client, "10.1.0.1", "fd01::1")
	// By the sender's socket, as veth would have it, flows wander at each
	// retransmission. These fields are those that real routers use.
	l.router.Run("sysctl", "-qw", "net.ipv4.fib_multipath_hash_policy=3", "net.ipv4.fib_multipath_hash_fields=0x37",
		"net.ipv6.fib_multipath_hash_policy=3", "net.ipv6.fib_multipath_hash_fields=0x37")
	switches := map[int]*netlab.Switch{}
	for i, subnet := range subnets {
		if switches[subnet] == nil {
			switches[subnet] = lab.Switch(fmt.Sprintf("sw%d", subnet))
			switches[subnet].Attach(l.router, fmt.Sprintf("lan%d", subnet), fmt.Sprintf("10.99.%d.254/24", subnet), fmt.Sprintf("fd99:%d::fe/64", subnet))
		}
		l.nodes = append(l.nodes, l.addNode(lab, switches[subnet], i+1, subnet))
	}
	return l
}

func defaultRoute(n *netlab.Node, v4, v6 string) {
	n.Run("ip", "route", "add", "default", "via", v4)
	n.Run("ip", "-6", "route", "add", "default", "via", v6)
}

func (l *rescueLab) addNode(lab *netlab.Lab, sw *netlab.Switch, number, subnet int) *rescueNode {
	n := &rescueNode{Node: lab.Node(fmt.Sprintf("n%d", number)), number: number, subnet: subnet, rescue: NewRescue(nil), lan: sw}
	n.port = sw.Attach(n.Node, "eth0")
	n.Run("ip", "link", "set", "eth0", "address", n.mac())
	n.Addr("eth0", n.v4()+"/24", n.v6()+"/64")
	defaultRoute(n.Node, fmt.Sprintf("10.99.%d.254", subnet), fmt.Sprintf("fd99:%d::fe", subnet))
	pods := lab.Node(fmt.Sprintf("pods%d", number))
	lab.Pair(n.Node, "pods", pods, "eth0")
	n.Addr("pods", fmt.Sprintf("10.244.%d.1/24", number), fmt.Sprintf("fd44:%d::1/64", number))
	pods.Addr("eth0", fmt.Sprintf("10.244.%d.2/24", number), fmt.Sprintf("10.244.%d.3/24", number), fmt.Sprintf("fd44:%d::2/64", number), fmt.Sprintf("fd44:%d::3/64", number))
	defaultRoute(pods, fmt.Sprintf("10.244.%d.1", number), fmt.Sprintf("fd44:%d::1", number))
	n.pods = pods
	n.proxy(true)
	serveEcho(l.t, pods, byte(number))
	return n
}

// proxy has kube-proxy's rules with endpoints or without.
func (n *rescueNode) proxy(endpoints bool) {
	var b strings.Builder
	for _, f := range []struct{ family, vip, pods string }{
		{"ip", vip4, fmt.Sprintf("{ 0 : 10.244.%d.2, 1 : 10.244.%d.3 }", n.number, n.number)},
		{"ip6", vip6, fmt.Sprintf("{ 0 : fd44:%d::2, 1 : fd44:%d::3 }", n.number, n.number)},
	} {
		fmt.Fprintf(&b, "table %s kp\ndelete table %s kp\ntable %s kp {\nchain services {\ntype nat hook prerouting priority dstnat\n", f.family, f.family, f.family)
		if endpoints {
			fmt.Fprintf(&b, "%s daddr %s tcp dport 80 dnat to numgen random mod 2 map %s\n", f.family, f.vip, f.pods)
		}
		b.WriteString("}\nchain forward {\ntype filter hook forward priority filter\nct state invalid drop\n}\n}\n")
	}
	n.Run("nft", b.String())
}

// cut cuts a node off, so that nothing tells of it, or brings it back.
func (n *rescueNode) cut(off bool) {
	n.lan.Run("bridge", "link", "set", "dev", n.port, "state", map[bool]string{true: "0", false: "3"}[off])
}

// spec is what a node's rescue needs of the others: on its segment, or over the
// overlay.
func (l *rescueLab) spec(of *rescueNode) RescueSpec {
	s := RescueSpec{Services: []RescueService{service(vip4, 80), service(vip6, 80)}}
	overlay := l.overlay(of)
	for _, n := range l.nodes {
		switch {
		case n == of:
		case n.subnet == of.subnet:
			s.Peers = append(s.Peers, onSegment(l.t, n.Name, n.mac(), n.v4(), n.v6()))
		default:
			far := overlay.Peer(n.Name, l.underlay(n))
			far.Ask = true
			s.Peers = append(s.Peers, far)
			s.Overlay = overlay.Rescue()
		}
	}
	for i, p := range s.Peers {
		s.Peers[i].Gone = p.Name == fmt.Sprintf("n%d", l.gone)
	}
	return s
}

func (l *rescueLab) underlay(n *rescueNode) netip.Addr {
	if l.underlay6 {
		return addrOf(n.v6())
	}
	return addrOf(n.v4())
}

// overlay is what a node needs for the peers in other subnets.
func (l *rescueLab) overlay(of *rescueNode) OverlaySpec {
	s := OverlaySpec{Local: l.underlay(of)}
	for _, n := range l.nodes {
		if n.subnet != of.subnet {
			s.Peers = append(s.Peers, l.underlay(n))
		}
	}
	return s
}

// rescue switches it on or off at all nodes.
func (l *rescueLab) rescue(on bool) {
	l.t.Helper()
	for _, n := range l.nodes {
		n.rescued(l, on)
	}
}

func (n *rescueNode) rescued(l *rescueLab, on bool) {
	l.t.Helper()
	n.Inside(l.t, func() {
		err := n.rescue.Remove(l.t.Context())
		if overlay := l.overlay(n); on && len(overlay.Peers) > 0 {
			err = errors.Join(err, NewOverlay(nil).Set(l.t.Context(), overlay))
		}
		if on && err == nil {
			err = n.rescue.Set(l.t.Context(), l.spec(n))
		}
		if err != nil {
			l.t.Errorf("rescue on %s: %v", n.Name, err)
		}
	})
}

func (l *rescueLab) counters() (sum RescueCounters) {
	l.t.Helper()
	for _, n := range l.nodes {
		n.Inside(l.t, func() {
			c, err := n.rescue.Counters()
			if err != nil {
				l.t.Error(err)
			}
			sum.Asked += c.Asked
			sum.Claimed += c.Claimed
			sum.Directed += c.Directed
			sum.GivenUp += c.GivenUp
			sum.Limited += c.Limited
		})
	}
	return sum
}

// weights are the router's, node by node. Zero: no route.
func (l *rescueLab) weights(weights ...int) {
	l.t.Helper()
	args4, args6 := []string{"route", "replace", vip4}, []string{"-6", "route", "replace", vip6}
	for i, w := range weights {
		if w > 0 {
			args4 = append(args4, "nexthop", "via", l.nodes[i].v4(), "weight", fmt.Sprint(w))
			args6 = append(args6, "nexthop", "via", l.nodes[i].v6(), "weight", fmt.Sprint(w))
		}
	}
	l.router.Run("ip", args4...)
	l.router.Run("ip", args6...)
}

// serveEcho answers what it gets, with the first byte of each sixteen replaced by
// the node's number.
func serveEcho(t *testing.T, n *netlab.Node, number byte) {
	t.Helper()
	n.Inside(t, func() {
		listener, err := net.Listen("tcp", ":80")
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				go echo(c, number)
			}
		}()
	})
}

const (
	messageLen  = 16
	downloadLen = 1 << 20
)

func echo(c net.Conn, number byte) {
	defer func() { _ = c.Close() }()
	message := make([]byte, messageLen)
	for {
		if _, err := io.ReadFull(c, message); err != nil {
			return
		}
		switch message[0] {
		case 'u': // upload: say how much it was
			n, _ := io.Copy(io.Discard, c)
			_, _ = c.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
			return
		case 'd': // download
			_, _ = c.Write(make([]byte, downloadLen))
			return
		}
		message[0] = number
		if _, err := c.Write(message); err != nil {
			return
		}
	}
}

// client is one connection that asks every 100 ms.
type rescueClient struct {
	conn   net.Conn
	mu     sync.Mutex
	owner  byte
	lastOK time.Time
	silent time.Duration // at most, so far
	err    error
	failed time.Time
}

// dial opens connections, from ports that no earlier one had: nodes may remember
// those.
func (l *rescueLab) dial(addr string, n int) []net.Conn {
	l.t.Helper()
	var conns []net.Conn
	l.client.Inside(l.t, func() {
		for range n {
			l.ports++
			d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{Port: l.ports}}
			c, err := d.Dial("tcp", netip.AddrPortFrom(addrOf(addr), 80).String())
			if err != nil {
				l.t.Errorf("connect to %s: %v", addr, err)
				return
			}
			l.t.Cleanup(func() { _ = c.Close() })
			conns = append(conns, c)
		}
	})
	if len(conns) < n {
		l.t.FailNow()
	}
	return conns
}

// open opens connections that ask.
func (l *rescueLab) open(addr string, n int) []*rescueClient {
	l.t.Helper()
	clients := make([]*rescueClient, n)
	for i, c := range l.dial(addr, n) {
		clients[i] = &rescueClient{conn: c, lastOK: time.Now()}
	}
	for i, c := range clients {
		go c.run(time.Duration(i) * 100 * time.Millisecond / time.Duration(n))
	}
	return clients
}

func (c *rescueClient) run(after time.Duration) {
	time.Sleep(after)
	message := bytes.Repeat([]byte{'.'}, messageLen)
	answer := make([]byte, messageLen)
	for {
		_, err := c.conn.Write(message)
		if err == nil {
			_, err = io.ReadFull(c.conn, answer)
		}
		c.mu.Lock()
		if err != nil {
			c.err, c.failed = err, time.Now()
			c.mu.Unlock()
			return
		}
		c.silent = max(c.silent, time.Since(c.lastOK))
		c.owner, c.lastOK = answer[0], time.Now()
		c.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
	}
}

// verdict is what became of connections.
type verdictOf struct {
	alive, reset, hang int
	soonest, slowest   time.Duration // from the event to a reset
	owners             map[byte]int  // of the broken ones
}

func (v verdictOf) broken() int { return v.reset + v.hang }

func judge(clients []*rescueClient, since time.Time) verdictOf {
	v := verdictOf{owners: map[byte]int{}}
	for _, c := range clients {
		c.mu.Lock()
		switch {
		case c.err != nil:
			took := c.failed.Sub(since)
			if v.reset++; v.reset == 1 || took < v.soonest {
				v.soonest = took
			}
			v.slowest = max(v.slowest, took)
		case time.Since(c.lastOK) > time.Second:
			v.hang++
		default:
			v.alive++
		}
		if c.err != nil || time.Since(c.lastOK) > time.Second {
			v.owners[c.owner]++
		}
		c.mu.Unlock()
	}
	return v
}

// owned counts the connections of a node.
func owned(clients []*rescueClient, number byte) (n int) {
	for _, c := range clients {
		c.mu.Lock()
		if c.owner == number && c.err == nil {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

func closeAll(clients ...[]*rescueClient) {
	for _, some := range clients {
		for _, c := range some {
			if t, ok := c.conn.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			_ = c.conn.Close()
		}
	}
}

// ask sends a message of a kind and returns the first byte of the answer.
func ask(c net.Conn, kind byte) (byte, error) {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	message := bytes.Repeat([]byte{kind}, messageLen)
	if _, err := c.Write(message); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, message)
	return message[0], err
}

// upload sends bytes and returns how long it took until all were there.
func upload(c net.Conn, n int) (time.Duration, error) {
	began := time.Now()
	_ = c.SetDeadline(began.Add(10 * time.Second))
	if _, err := c.Write(append(bytes.Repeat([]byte{'u'}, messageLen), make([]byte, n)...)); err != nil {
		return 0, err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, err
	}
	answer := make([]byte, 8)
	if _, err := io.ReadFull(c, answer); err != nil {
		return 0, err
	}
	if got := binary.BigEndian.Uint64(answer); got != uint64(n) {
		return 0, fmt.Errorf("%d of %d bytes have arrived", got, n)
	}
	return time.Since(began), nil
}

// download returns how much came before the limit.
func download(c net.Conn, limit time.Duration) int64 {
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write(bytes.Repeat([]byte{'d'}, messageLen)); err != nil {
		return 0
	}
	n, _ := io.CopyN(io.Discard, c, downloadLen)
	return n
}
