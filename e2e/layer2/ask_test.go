package layer2

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// answerers asks the segment once who has an address, as a client without a
// cached neighbour does, and returns the nodes of all who answer in time.
func answerers(ctx context.Context, a netip.Addr, within time.Duration) ([]string, error) {
	ns, err := herald.Netns(ctx, lab.LANClient)
	if err != nil {
		return nil, err
	}
	type result struct {
		macs []string
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread stays where it is, and ends with us
		macs, err := ask(ns, a, within)
		done <- result{macs, err}
	}()
	r := <-done
	for i, m := range r.macs {
		r.macs[i] = nodeOf(m)
	}
	return r.macs, r.err
}

// nodeOf: a lab's MAC addresses end with the IPv4 address of the host.
func nodeOf(mac string) string {
	for _, n := range herald.Nodes() {
		b := netip.MustParseAddr(n.Addr4).As4()
		if mac == fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3]) {
			return n.Name
		}
	}
	return mac
}

func ask(ns string, a netip.Addr, within time.Duration) ([]string, error) {
	f, err := os.Open(filepath.Join("/run/netns", ns))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		return nil, err
	}
	protocol, frame, who := uint16(unix.ETH_P_ARP), arpRequest(link.HardwareAddr, a), arpReply
	if a.Is6() {
		protocol, frame, who = unix.ETH_P_IPV6, solicitation(link.HardwareAddr, a), advertisement
	}
	order := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(order))
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: order, Ifindex: link.Index}
	if err := unix.Bind(fd, to); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000}); err != nil {
		return nil, err
	}
	if err := unix.Sendto(fd, frame, 0, to); err != nil {
		return nil, err
	}
	var macs []string
	buf := make([]byte, 2048)
	for end := time.Now().Add(within); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			continue // nothing came
		}
		if mac := who(buf[:n], a); mac != "" && !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
	return macs, nil
}

func arpRequest(mac net.HardwareAddr, a netip.Addr) []byte {
	b := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac)
	b = append(b, netip.MustParseAddr(lab.LANClient4).AsSlice()...)
	return append(append(b, make([]byte, 6)...), a.AsSlice()...)
}

func arpReply(b []byte, a netip.Addr) string {
	if len(b) < 42 || b[21] != 2 || netip.AddrFrom4([4]byte(b[28:32])) != a {
		return ""
	}
	return net.HardwareAddr(b[22:28]).String()
}

func solicitation(mac net.HardwareAddr, a netip.Addr) []byte {
	target := a.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], target[13:])
	body := slices.Concat([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target[:], []byte{1, 1}, mac)
	src := netip.MustParseAddr(lab.LANClient6).As16()
	binary.BigEndian.PutUint16(body[2:], checksum(slices.Concat(src[:], group[:], []byte{0, 0, 0, byte(len(body)), 0, 0, 0, 58}, body)))
	head := []byte{0x60, 0, 0, 0, 0, byte(len(body)), 58, 255}
	return slices.Concat([]byte{0x33, 0x33}, group[12:], mac, []byte{0x86, 0xdd}, head, src[:], group[:], body)
}

func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func advertisement(b []byte, a netip.Addr) string {
	if len(b) < 86 || b[20] != 58 || b[54] != 136 || netip.AddrFrom16([16]byte(b[62:78])) != a {
		return ""
	}
	return net.HardwareAddr(b[80:86]).String()
}

// waitOwner waits until one of the wanted nodes, and nobody else, answers for an
// address.
func waitOwner(t *testing.T, a netip.Addr, wanted ...string) (owner string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 30*time.Second, func() error {
		got, err := answerers(t.Context(), a, 300*time.Millisecond)
		if err == nil && (len(got) != 1 || !slices.Contains(wanted, got[0])) {
			err = fmt.Errorf("%v answer for %s, want one of %v", got, a, wanted)
		}
		if err == nil {
			owner = got[0]
		}
		return err
	}))
	return owner
}
