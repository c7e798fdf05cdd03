package l2

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// maxFrame is more than any ARP or neighbour discovery message fills; one
	// that is longer is cut, and then fails its length check.
	maxFrame = 2048
	// receiveBuffer holds what comes while the node's processors are busy. With
	// the default size up to 3.7 % of 10,000 requests a second were lost.
	receiveBuffer = 4 << 20
	// batch bounds how long a flood can keep Close waiting.
	batch = 64
)

// conn sends and receives the frames of one protocol on one link. A packet
// socket is needed for both protocols: a raw ICMPv6 socket never sees a unicast
// solicitation for an address that is not bound to the node.
type conn struct {
	packet   *packet.Conn
	raw      syscall.RawConn
	attached *table // whose filter is attached
}

func listen(ifi *net.Interface, protocol int) (*conn, error) {
	none, err := bpf.Assemble([]bpf.Instruction{drop})
	if err != nil {
		return nil, err
	}
	p, err := packet.Listen(ifi, packet.Raw, protocol, &packet.Config{Filter: none})
	if err != nil {
		return nil, err
	}
	raw, err := p.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	c := &conn{packet: p, raw: raw}
	return c, c.grow()
}

// grow enlarges the receive buffer beyond net.core.rmem_max where the privilege
// suffices, else up to it.
func (c *conn) grow() (err error) {
	control := c.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		if errors.Is(err, unix.EPERM) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
	return errors.Join(control, err)
}

// attach replaces the filter in one step. Kernels before 6.6 allow a socket only
// 20 KiB of options by default, the filter included, so a coarser one is tried
// where the exact one does not fit.
func (c *conn) attach(t *table, filter func(t *table, spans int) []bpf.Instruction) error {
	if c.attached == t {
		return nil
	}
	for spans := maxSpans; ; spans /= 2 {
		ins, err := bpf.Assemble(guard(filter(t, spans)))
		if err != nil {
			return fmt.Errorf("assemble a filter of %d spans: %w", spans, err)
		}
		err = c.packet.SetBPF(ins)
		if err == nil {
			c.attached = t
		}
		if err == nil || spans < 16 || !errors.Is(err, unix.ENOMEM) {
			return err
		}
	}
}

// serve answers until the conn is closed. It calls down when the link goes down;
// the socket survives that, but is better replaced.
func (c *conn) serve(r *responder, down func()) {
	buf := make([]byte, maxFrame)
	var failed error
	some := func(fd uintptr) bool {
		for range batch {
			n, err := unix.Read(int(fd), buf)
			if err == unix.EAGAIN {
				return false
			}
			if failed = err; err != nil {
				return true
			}
			// A reply that does not fit is lost, as on any busy wire; whoever
			// asked asks again.
			if reply := r.handle(buf[:n]); reply != nil {
				_, err := unix.Write(int(fd), reply)
				r.replied(err)
			}
		}
		return true
	}
	for {
		if err := c.raw.Read(some); err != nil {
			return // closed
		}
		if failed != nil && failed != unix.EINTR {
			down()
			time.Sleep(10 * time.Millisecond) // should it fail for good
		}
	}
}

// send sends a frame, or fails at once where the queue of the link is full.
func (c *conn) send(frame []byte) (err error) {
	control := c.raw.Control(func(fd uintptr) {
		_, err = unix.Write(int(fd), frame)
	})
	if control != nil {
		return control
	}
	return err
}

// drops is how many frames were lost for want of room since it was last called.
func (c *conn) drops() uint64 {
	s, err := c.packet.Stats()
	if err != nil {
		return 0
	}
	return uint64(s.Drops)
}

func (c *conn) close() { c.packet.Close() }
