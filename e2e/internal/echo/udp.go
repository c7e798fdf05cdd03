package echo

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenUDP asks the kernel to tell each datagram's destination.
func listenUDP(ctx context.Context, port int) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		ctlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		})
		if ctlErr != nil {
			return ctlErr
		}
		return err
	}}
	c, err := config.ListenPacket(ctx, "udp", net.JoinHostPort("::", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// serveUDP answers from the address that a datagram was sent to, which a host
// with several addresses would not do by itself.
func (s *Server) serveUDP() {
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for {
		_, n, _, client, err := s.udp.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		anyLink(oob[:n], client)
		// An answer that cannot be sent is a lost datagram, like any other.
		_, _, _ = s.udp.WriteMsgUDPAddrPort(s.udpReply.line(client), oob[:n], client)
	}
}

// anyLink turns a received packet information into one for sending: the same
// address of ours, by whatever link leads to the client.
func anyLink(oob []byte, client netip.AddrPort) {
	const (
		head = unix.SizeofCmsghdr
		link = head + 16 // after the address
	)
	if len(oob) < link+4 || client.Addr().IsLinkLocalUnicast() {
		return
	}
	binary.NativeEndian.PutUint32(oob[link:], 0)
}
