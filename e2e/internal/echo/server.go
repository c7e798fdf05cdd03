// Package echo is the server in the lab's pods: it tells each client who
// answered and from which address it was reached, over TCP and UDP.
package echo

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// Options say where to listen and who to be. All are required but Unready.
type Options struct {
	Port    int // on all addresses of both families; zero: any free one
	Pod     string
	Node    string
	Unready bool // fail /healthz until POST /ready
}

// Server answers on one port. Readiness is only what it says; it serves in any case.
type Server struct {
	ready    atomic.Bool
	tcp      *net.TCPListener
	udp      *net.UDPConn
	tcpReply template
	udpReply template
}

// Listen opens the ports, so that no request is refused once it has returned.
// Serve answers them.
func Listen(ctx context.Context, o Options) (*Server, error) {
	// Without address both families, IPv4 as mapped addresses.
	tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(o.Port)))
	if err != nil {
		return nil, fmt.Errorf("echo: %w", err)
	}
	s := &Server{
		tcp:      tcp.(*net.TCPListener),
		tcpReply: newTemplate(o.Pod, o.Node, "tcp"),
		udpReply: newTemplate(o.Pod, o.Node, "udp"),
	}
	if s.udp, err = listenUDP(ctx, s.Port()); err != nil {
		tcp.Close()
		return nil, fmt.Errorf("echo: %w", err)
	}
	s.ready.Store(!o.Unready)
	return s, nil
}

// Port is where the server listens.
func (s *Server) Port() int { return s.tcp.Addr().(*net.TCPAddr).Port }

// SetReady makes /healthz succeed or fail.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

// Serve answers until ctx ends. Connections that are then open are reset.
func (s *Server) Serve(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { s.serveTCP(ctx) })
	parts.Go(s.serveUDP)
	<-ctx.Done()
	s.tcp.Close()
	s.udp.Close()
	parts.Wait()
}
