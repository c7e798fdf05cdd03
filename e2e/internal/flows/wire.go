// Package flows is the traffic of the lab's tests: many short flows to see how
// they spread, probes to see outages, and held connections to see what breaks.
// The other side is package echo.
package flows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/heraldlb/herald/e2e/internal/echo"
)

// MaxFlows bounds every count: there are not more source ports.
const MaxFlows = 60000

// Target is who is asked, and how.
type Target struct {
	Addr  netip.AddrPort
	Proto string // tcp or udp
}

// ParseTarget reads address:port and a protocol.
func ParseTarget(addr, proto string) (Target, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return Target{}, fmt.Errorf("target %q: not like 10.99.0.1:80 or [fd99::1]:80", addr)
	}
	if proto != "tcp" && proto != "udp" {
		return Target{}, fmt.Errorf("protocol %q: not tcp or udp", proto)
	}
	return Target{a, proto}, nil
}

// dial opens a flow from the given port; zero lets the kernel choose one. The
// deadline is for everything that is done with the flow.
func (t Target) dial(ctx context.Context, port uint16, timeout time.Duration) (net.Conn, error) {
	deadline := time.Now().Add(timeout)
	d := net.Dialer{Deadline: deadline, KeepAlive: -1}
	if port != 0 {
		d.LocalAddr = t.localAddr(port)
	}
	c, err := d.DialContext(ctx, t.Proto, t.Addr.String())
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(deadline)
}

func (t Target) localAddr(port uint16) net.Addr {
	if t.Proto == "udp" {
		return &net.UDPAddr{Port: int(port)}
	}
	return &net.TCPAddr{Port: int(port)}
}

var question = []byte("?\n")

// ask sends one request, a line, and reads its answer.
func ask(c net.Conn, request []byte) (echo.Reply, error) {
	if _, err := c.Write(request); err != nil {
		return echo.Reply{}, err
	}
	return readReply(c)
}

// readReply needs no buffer between calls: the server sends one line and
// nothing after it before the next request.
func readReply(c net.Conn) (echo.Reply, error) {
	var r echo.Reply
	line := make([]byte, 0, 512)
	for {
		n, err := c.Read(line[len(line):cap(line)])
		line = line[:len(line)+n]
		if n > 0 && line[len(line)-1] == '\n' {
			return r, json.Unmarshal(line, &r)
		}
		if err != nil {
			return r, err
		}
		if len(line) == cap(line) {
			return r, errors.New("answer is too long")
		}
	}
}

// hangUp ends a flow by a reset: an orderly end would hold the port for a minute.
func hangUp(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}

// kindOf names a failure so that failures can be counted.
func kindOf(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF):
		return "closed"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES):
		return "unreachable"
	}
	var t net.Error
	if errors.As(err, &t) && t.Timeout() {
		return "timeout"
	}
	return err.Error()
}
