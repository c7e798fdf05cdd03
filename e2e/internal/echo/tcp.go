package echo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

func (s *Server) serveTCP(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := s.tcp.AcceptTCP()
		if err != nil {
			return
		}
		conns.Go(func() {
			defer context.AfterFunc(ctx, func() { abort(c) })()
			defer c.Close()
			s.serveConn(c)
		})
	}
}

// abort resets a connection: what the client sees when its server dies.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

// serveConn lets the first byte decide: that of an HTTP method, or lines that are
// each answered by a reply. Lines cost a fraction of HTTP where flows are counted by the
// ten thousands.
func (s *Server) serveConn(c *net.TCPConn) {
	in := bufio.NewReaderSize(c, 1024)
	client := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	start, err := in.Peek(1)
	if err != nil {
		return
	}
	if start[0] == 'G' || start[0] == 'P' || start[0] == 'H' {
		s.serveHTTP(c, in, client)
		return
	}
	for {
		_, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue // a long line has an answer at its end
		}
		if err != nil {
			return
		}
		if _, err := c.Write(s.tcpReply.line(client)); err != nil {
			return
		}
	}
}

func (s *Server) serveHTTP(out io.Writer, in *bufio.Reader, client netip.AddrPort) {
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(req.Body, 1<<20))
		code, body := s.answer(req.Method+" "+req.URL.Path, client)
		if err := respond(out, req, code, body); err != nil || req.Close {
			return
		}
	}
}

func (s *Server) answer(what string, client netip.AddrPort) (code int, body []byte) {
	switch what {
	case "GET /healthz":
		if !s.ready.Load() {
			return http.StatusServiceUnavailable, []byte("not ready\n")
		}
		return http.StatusOK, []byte("ok\n")
	case "POST /ready":
		s.ready.Store(true)
		return http.StatusOK, []byte("ready\n")
	case "POST /unready":
		s.ready.Store(false)
		return http.StatusOK, []byte("not ready\n")
	}
	return http.StatusOK, s.tcpReply.line(client)
}

func respond(out io.Writer, req *http.Request, code int, body []byte) error {
	kind, connection := "text/plain", "keep-alive"
	if bytes.HasPrefix(body, []byte("{")) {
		kind = "application/json"
	}
	if req.Close {
		connection = "close"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n",
		code, http.StatusText(code), kind, len(body), connection)
	if req.Method != http.MethodHead {
		b.Write(body)
	}
	_, err := out.Write(b.Bytes())
	return err
}
