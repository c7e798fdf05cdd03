package bfd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listen opens a socket that tells the hop limit of each packet.
func listen(d door) (*net.UDPConn, error) {
	network := "udp4"
	if d.v6 {
		network = "udp6"
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error {
			if d.v6 {
				return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
			}
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
		})
	}}
	c, err := config.ListenPacket(context.Background(), network, fmt.Sprintf(":%d", d.port))
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// hopLimit is that of a received packet, from its control message; 0: unknown.
func hopLimit(b []byte) int {
	messages, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		ttl := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL
		if (ttl || m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT) && len(m.Data) > 0 {
			return int(m.Data[0]) | int(m.Data[len(m.Data)-1]) // an int of either byte order
		}
	}
	return 0
}

// sender sends to one peer.
type sender struct {
	peer netip.Addr
	port int
	conn net.Conn
	made time.Time
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// renew opens another socket next time, unless this one is new.
func (s *sender) renew() {
	if time.Since(s.made) > 10*time.Second {
		s.close()
	}
}

func (s *sender) send(p Params, what packet) error {
	if s.conn == nil {
		c, err := dial(s.peer, s.port, p)
		if err != nil {
			return err
		}
		s.conn, s.made = c, time.Now()
	}
	_, err := s.conn.Write(what.bytes())
	if errors.Is(err, syscall.ECONNREFUSED) {
		// That was the answer to the packet before, and this one was not sent.
		_, _ = s.conn.Write(what.bytes())
	}
	return err
}

// dial opens a socket to send from, on a port that RFC 5881 section 4 allows.
func dial(peer netip.Addr, port int, p Params) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error { return mark(fd, peer.Is6(), p.Interface) })
	}}
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, uint16(port)))
	var err error
	for range 10 { // a port may be taken
		local := &net.UDPAddr{Port: 49152 + rand.IntN(65536-49152)}
		if p.Local.IsValid() {
			local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Local, uint16(local.Port)))
		}
		d.LocalAddr = local
		var c net.Conn
		if c, err = d.Dial("udp", to.String()); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// mark sets what packets of BFD must have: a hop limit that no router can imitate,
// and precedence before the traffic that they watch over.
func mark(fd int, v6 bool, by string) error {
	const most, network = 255, 6 << 5
	set := unix.SetsockoptInt
	var errs [2]error
	if v6 {
		errs[0], errs[1] = set(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, most), set(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, network)
	} else {
		errs[0], errs[1] = set(fd, unix.IPPROTO_IP, unix.IP_TTL, most), set(fd, unix.IPPROTO_IP, unix.IP_TOS, network)
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if by != "" {
		return unix.BindToDevice(fd, by)
	}
	return nil
}

func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
