package l2

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

// wire is a raw port on a segment: it sees, and sends, whatever it likes.
type wire struct {
	tb    testing.TB
	mac   mac
	ip6   netip.Addr
	conn  *packet.Conn
	heard [][]byte // kept by claimsOf
}

// openWire opens a port on an interface of a node, for ARP or for IPv6.
func openWire(tb testing.TB, n *netlab.Node, link string, protocol int) *wire {
	tb.Helper()
	return openFiltered(tb, n, link, protocol, nil)
}

// openVLAN opens a port on a trunk that hears what has the tag of one VLAN, or,
// with 0, what has none.
func openVLAN(tb testing.TB, n *netlab.Node, trunk string, id uint32) *wire {
	tb.Helper()
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTag}, // 0: there is none
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xfff},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: id, SkipTrue: 1},
		drop,
		accept,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return openFiltered(tb, n, trunk, unix.ETH_P_ALL, &packet.Config{Filter: filter})
}

func openFiltered(tb testing.TB, n *netlab.Node, link string, protocol int, config *packet.Config) *wire {
	tb.Helper()
	w := &wire{tb: tb}
	inside(tb, n, func() {
		ifi, err := net.InterfaceByName(link)
		if err != nil {
			tb.Errorf("%s: %v", n.Name, err)
			return
		}
		w.mac = mac(ifi.HardwareAddr)
		w.ip6 = ownIPv6(ifi, func(netip.Addr) bool { return false })
		if w.conn, err = packet.Listen(ifi, packet.Raw, protocol, config); err != nil {
			tb.Errorf("%s: %v", n.Name, err)
		}
	})
	if tb.Failed() {
		tb.FailNow()
	}
	tb.Cleanup(func() { w.conn.Close() })
	c := &conn{packet: w.conn}
	c.raw, _ = w.conn.SyscallConn()
	c.grow()
	return w
}

func (w *wire) send(frame []byte) {
	w.tb.Helper()
	for {
		_, err := w.conn.WriteTo(frame, &packet.Addr{HardwareAddr: broadcast.hardware()})
		if err == nil {
			return
		}
		if time.Sleep(time.Millisecond); !full(err) {
			w.tb.Fatalf("send: %v", err)
		}
	}
}

// read returns the frames that come until nothing has come for a while.
func (w *wire) read(quiet time.Duration) (frames [][]byte) {
	buf := make([]byte, maxFrame)
	for {
		w.conn.SetReadDeadline(time.Now().Add(quiet))
		n, _, err := w.conn.ReadFrom(buf)
		if err != nil {
			return frames
		}
		frames = append(frames, append([]byte(nil), buf[:n]...))
	}
}

// answerers asks for each address, some at a time, and returns who answers.
func (w *wire) answerers(addrs []netip.Addr, quiet time.Duration) map[netip.Addr][]mac {
	w.tb.Helper()
	out := map[netip.Addr][]mac{}
	for len(addrs) > 0 {
		n := min(100, len(addrs))
		for _, a := range addrs[:n] {
			w.send(w.request(a))
		}
		addrs = addrs[n:]
		wait := 20 * time.Millisecond
		if len(addrs) == 0 {
			wait = quiet
		}
		for _, f := range w.read(wait) {
			if a, m, ok := claimIn(f); ok && mac(f[offDst:]) == w.mac {
				out[a] = append(out[a], m)
			}
		}
	}
	return out
}

// request asks for an address the way a host does that wants to talk to it.
func (w *wire) request(a netip.Addr) []byte {
	if a.Is4() {
		return arpFrame(w.mac, netip.MustParseAddr("192.0.2.99"), a)
	}
	return probeNDP(w.mac, w.ip6, a)
}

// claimIn is the address that a frame says is at a MAC.
func claimIn(f []byte) (netip.Addr, mac, bool) {
	switch binary.BigEndian.Uint16(f[offType:]) {
	case unix.ETH_P_ARP:
		sender, target := netip.AddrFrom4([4]byte(f[offSenderIP:])), netip.AddrFrom4([4]byte(f[offTargetIP:]))
		op := binary.BigEndian.Uint16(f[offARPOp:])
		return sender, mac(f[offSenderMAC:]), op == arpTell || sender == target
	case unix.ETH_P_IPV6:
		n, ok := parseNDP(f)
		return netip.AddrFrom16(n.target), n.from, ok && n.kind == advertise
	}
	return netip.Addr{}, mac{}, false
}
