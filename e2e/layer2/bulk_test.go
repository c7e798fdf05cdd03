package layer2

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// wire sends and receives the client's frames. It asks for many addresses at
// once; answerers is simpler for one.
type wire struct {
	mac      net.HardwareAddr
	link     int
	arp, ndp int // sockets, one for each protocol
}

// openWire opens sockets in the client's namespace, which stay there, whichever
// thread uses them.
func openWire(t *testing.T) *wire {
	t.Helper()
	ns, err := herald.Netns(t.Context(), lab.LANClient)
	must(t, err)
	w, done := &wire{arp: -1, ndp: -1}, make(chan error)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with us
		done <- w.open(ns)
	}()
	err = <-done
	t.Cleanup(w.close)
	must(t, err)
	return w
}

func (w *wire) open(ns string) error {
	f, err := os.Open(filepath.Join("/run/netns", ns))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	w.mac, w.link = link.HardwareAddr, link.Index
	if w.arp, err = packetSocket(unix.ETH_P_ARP, link.Index); err != nil {
		return err
	}
	w.ndp, err = packetSocket(unix.ETH_P_IPV6, link.Index)
	return err
}

func packetSocket(protocol uint16, link int) (int, error) {
	order := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(order))
	if err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // a small one only loses more
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: order, Ifindex: link}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (w *wire) close() {
	for _, fd := range []int{w.arp, w.ndp} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (w *wire) send(frame []byte) error {
	fd := w.arp
	if frame[12] == 0x86 {
		fd = w.ndp
	}
	err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.link})
	if err != nil {
		err = fmt.Errorf("send a frame: %w", err)
	}
	return err
}

func (w *wire) request(a netip.Addr) []byte {
	if a.Is6() {
		return solicitation(w.mac, a)
	}
	return arpRequest(w.mac, a)
}

// heard is an answer or an announcement.
type heard struct {
	addr netip.Addr
	mac  string
	ours bool // sent to this client only, which is what an answer is
}

// hear returns what has come since the last time.
func (w *wire) hear() (all []heard) {
	buf := make([]byte, 2048)
	for _, fd := range []int{w.arp, w.ndp} {
		for {
			n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
			if err != nil {
				break // nothing more
			}
			if h, ok := parse(buf[:n]); ok {
				h.ours = string(buf[:6]) == string(w.mac)
				all = append(all, h)
			}
		}
	}
	return all
}

// parse reads who says that it has an address, be it asked or not.
func parse(b []byte) (heard, bool) {
	switch {
	case len(b) >= 42 && b[12] == 8 && b[13] == 6:
		h := heard{addr: netip.AddrFrom4([4]byte(b[28:32])), mac: net.HardwareAddr(b[22:28]).String()}
		// An announcement may be a request, of the sender for itself.
		return h, b[21] == 2 || string(b[28:32]) == string(b[38:42])
	case len(b) >= 86 && b[12] == 0x86 && b[20] == 58 && b[54] == 136:
		return heard{addr: netip.AddrFrom16([16]byte(b[62:78])), mac: net.HardwareAddr(b[80:86]).String()}, true
	}
	return heard{}, false
}

// owners are the nodes that answered for each address, sorted.
type owners map[netip.Addr][]string

func (o owners) add(h heard) {
	if node := nodeOf(h.mac); h.ours && !slices.Contains(o[h.addr], node) {
		o[h.addr] = append(o[h.addr], node)
		slices.Sort(o[h.addr])
	}
}

// count is how many addresses each node answers for alone.
func (o owners) count() map[string]int {
	n := map[string]int{}
	for _, nodes := range o {
		n[strings.Join(nodes, "+")]++
	}
	return n
}

// exactlyOne is an error unless each address has one answerer.
func (o owners) exactlyOne(addrs []netip.Addr) error {
	for _, a := range addrs {
		if len(o[a]) != 1 {
			return fmt.Errorf("%s is answered by %v, want one node; all: %v", a, o[a], o.count())
		}
	}
	return nil
}

// same is an error unless the same nodes answer for the same addresses.
func (o owners) same(other owners) error {
	var differ []netip.Addr
	for a, nodes := range o {
		if !slices.Equal(nodes, other[a]) {
			differ = append(differ, a)
		}
	}
	if len(differ) > 0 {
		a := differ[0]
		return fmt.Errorf("%d addresses have other owners, such as %s: %v, want %v", len(differ), a, other[a], o[a])
	}
	return nil
}

// askEach asks once for each address, 5,000 a second, and collects who answers
// until so long after the last.
func (w *wire) askEach(ctx context.Context, addrs []netip.Addr, within time.Duration) (owners, error) {
	const together = 10
	got := owners{}
	w.hear() // what came before was not asked for
	for part := range slices.Chunk(addrs, together) {
		for _, a := range part {
			if err := w.send(w.request(a)); err != nil {
				return nil, err
			}
		}
		time.Sleep(together * time.Second / 5000)
		got.addAll(w.hear())
	}
	for end := time.Now().Add(within); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		got.addAll(w.hear())
	}
	return got, ctx.Err()
}

func (o owners) addAll(list []heard) {
	for _, h := range list {
		o.add(h)
	}
}

// waitOwners waits until each address has exactly one answerer, and all of these
// are wanted; none wanted: any will do.
func (w *wire) waitOwners(t *testing.T, addrs []netip.Addr, wanted ...string) owners {
	t.Helper()
	var got owners
	must(t, stage.Wait(t.Context(), 30*time.Second, func() (err error) {
		if got, err = w.askEach(t.Context(), addrs, 200*time.Millisecond); err != nil {
			return err
		}
		if err := got.exactlyOne(addrs); err != nil {
			return err
		}
		for node := range maps.Keys(got.count()) {
			if len(wanted) > 0 && !slices.Contains(wanted, node) {
				return fmt.Errorf("answerers are %v, want only %v", got.count(), wanted)
			}
		}
		return nil
	}))
	return got
}

// waitNobody waits until nobody answers for any of the addresses.
func (w *wire) waitNobody(t *testing.T, addrs ...netip.Addr) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 20*time.Second, func() error {
		got, err := w.askEach(t.Context(), addrs, 300*time.Millisecond)
		if err == nil && len(got) > 0 {
			err = fmt.Errorf("somebody answers: %v", got)
		}
		return err
	}))
}
