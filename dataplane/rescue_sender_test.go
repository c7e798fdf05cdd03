package dataplane

import (
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sender writes frames to a node from the far end of its cable: the switch before
// that would cost half as much as the node.
type sender struct {
	fd       int
	frames   [][]byte
	renew    func(frame []byte) // before each time that it is sent; nil: nothing
	vectors  []unix.Iovec
	messages []message
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	sent   uint32 //nolint:unused // the kernel's
}

// sender makes one that sends all the frames at once.
func (n *rescueNode) sender(t *testing.T, frames [][]byte) *sender {
	t.Helper()
	s := &sender{frames: frames, vectors: make([]unix.Iovec, len(frames)), messages: make([]message, len(frames))}
	n.lan.Inside(t, func() {
		if err := s.open(n.port); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = unix.Close(s.fd) })
	for i, f := range frames {
		s.vectors[i].Base = &f[0]
		s.vectors[i].SetLen(len(f))
		s.messages[i].header.Iov = &s.vectors[i]
		s.messages[i].header.SetIovlen(1)
	}
	return s
}

func (s *sender) open(port string) error {
	link, err := net.InterfaceByName(port)
	if err != nil {
		return err
	}
	if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return err
	}
	return unix.Bind(s.fd, &unix.SockaddrLinklayer{Ifindex: link.Index})
}

// send returns how many frames the kernel took. Package unix has no function for
// this call.
func (s *sender) send() int {
	if s.renew != nil {
		for _, f := range s.frames {
			s.renew(f)
		}
	}
	sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[0])), uintptr(len(s.messages)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(sent)
}

// cost sends a number of packets, and returns the CPU time of each in nanoseconds.
// What the node does with it is in there: a veth hands it on in the sender's
// thread.
func (s *sender) cost(t *testing.T, packets int) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sent, began := 0, threadTime(t)
	for sent < packets {
		sent += s.send()
	}
	return float64(threadTime(t)-began) / float64(sent)
}

func threadTime(t *testing.T) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// flood is of packets of no connection, each of another one.
type flood struct {
	target *rescueNode
	rate   int // a second; zero: as many as go
	sent   int
	took   time.Duration
}

func (f *flood) perSecond() float64 { return float64(f.sent) / f.took.Seconds() }

const (
	floodThreads = 2 // one core alone just comes to 200,000 a second
	// Few enough that no gap between them is long enough for the limit to let one
	// more pass: who comes just then would be in luck.
	floodAtOnce = 10
)

// start sends until the function that it returns is called.
func (f *flood) start(t *testing.T) (stop func()) {
	t.Helper()
	var all sync.WaitGroup
	var sent [floodThreads]int
	end, began := make(chan struct{}), time.Now()
	for i := range floodThreads {
		s := f.target.bogus(t, floodAtOnce, uint32(i))
		all.Go(func() { sent[i] = f.run(s, end) })
	}
	return func() {
		close(end)
		all.Wait()
		f.took = time.Since(began)
		for _, n := range sent {
			f.sent += n
		}
	}
}

func (f *flood) run(s *sender, end <-chan struct{}) (sent int) {
	runtime.LockOSThread() // and not given back
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	// What a wire brings does not wait for other work either.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -10)
	for began := time.Now(); ; {
		select {
		case <-end:
			return sent
		default:
		}
		if early := f.due(sent) - time.Since(began); early > 0 {
			// The runtime's own sleep is too coarse.
			_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(early)}, nil)
		}
		sent += s.send()
	}
}

// due is when a thread that has sent so many packets sends the next.
func (f *flood) due(sent int) time.Duration {
	if f.rate == 0 {
		return 0
	}
	return time.Duration(sent) * time.Second / time.Duration(f.rate/floodThreads)
}

// lasts floods for a while.
func (f *flood) lasts(t *testing.T, d time.Duration) *flood {
	stop := f.start(t)
	time.Sleep(d)
	stop()
	return f
}

// bogus makes a sender of packets each of another connection, from 65,536
// addresses in turn. Senders of different halves never send the same.
func (n *rescueNode) bogus(t *testing.T, atOnce int, half uint32) *sender {
	next := 1024<<16 | half<<31 // the upper part is the port
	var frames [][]byte
	for range atOnce {
		frames = append(frames, ackFrame(n, [4]byte{}, 0))
	}
	s := n.sender(t, frames)
	s.renew = func(frame []byte) {
		address(frame, [4]byte{10, 50, byte(next >> 8), byte(next)}, uint16(next>>16))
		next++
	}
	return s
}

// ackFrame is a TCP acknowledgement for the service, sent to a node.
func ackFrame(n *rescueNode, src [4]byte, port uint16) []byte {
	vip := addrOf(vip4).As4()
	frame := []byte{
		2, 0, 0, 0, 0, byte(n.number), 2, 0, 0, 0, 0, 0xfe, 0x08, 0x00,
		0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0, 0, 0, 0, 0, vip[0], vip[1], vip[2], vip[3],
		0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, 0x10, 0xff, 0, 0, 0, 0, 0,
	}
	address(frame, src, port)
	return frame
}

// address makes a frame of ackFrame one of another client's.
func address(frame []byte, src [4]byte, port uint16) {
	ip, tcp := frame[14:34], frame[34:]
	copy(ip[12:], src[:])
	binary.BigEndian.PutUint16(tcp, port)
	copy(ip[10:], []byte{0, 0})
	copy(tcp[16:], []byte{0, 0})
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))
	binary.BigEndian.PutUint16(tcp[16:], checksum(checksumPseudo, ip[12:], tcp))
}

// checksumPseudo is the part of TCP's pseudo header beside the addresses.
const checksumPseudo = unix.IPPROTO_TCP + 20

func checksum(sum uint32, parts ...[]byte) uint16 {
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
