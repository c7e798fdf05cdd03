// Package bfd runs BFD sessions with routers (RFC 5880 in asynchronous mode; RFC 5881
// for one hop, RFC 5883 for more), whatever becomes of any BGP session with them. It
// says when one goes up and down, and leaves to its user what follows.
package bfd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Params of a session. They are comparable.
type Params struct {
	Local     netip.Addr // to send from; invalid: what the routing table says
	Interface string     // to send by; empty: what the routing table says
	Hops      uint8      // to the peer; 0 and 1: a neighbor

	ReceiveInterval, TransmitInterval time.Duration
	DetectMultiplier                  uint8

	Held  bool          // say nothing yet, and be Down
	Await time.Duration // wait no longer than this, once not held, for the peer to begin anew
}

// Cause says why a session went down.
type Cause uint8

// The causes.
const (
	Silence       Cause = iota + 1 // nothing came for the detection time
	PeerDown                       // the peer says so: it hears nothing, or begins anew
	PeerAdminDown                  // the peer has switched BFD off, which is no failure
)

// Status is what is known of a session.
type Status struct {
	State State
	Downs uint64 // how often it went down
	Why   Cause  // it went down last
	Fault string // why it is not Up and what to do, in words; empty: it is, or is held
	Heard bool   // the peer has said something lately
}

// Server has the sessions of this node.
type Server struct {
	log     *slog.Logger
	changed func(peer netip.Addr)

	mu       sync.Mutex
	sessions map[netip.Addr]*runner
	sockets  map[door]*net.UDPConn
	readers  sync.WaitGroup
	closed   bool
}

// door is a socket that packets come in by.
type door struct {
	v6   bool
	port int
}

// NewServer makes a Server. It calls changed, which must not wait, whenever the
// status of a session has changed.
func NewServer(log *slog.Logger, changed func(peer netip.Addr)) *Server {
	return &Server{log: log, changed: changed, sessions: map[netip.Addr]*runner{}, sockets: map[door]*net.UDPConn{}}
}

// Apply makes the sessions equal to want. The peer of one that ends is told that this
// is no failure. One goroutine calls it.
func (s *Server) Apply(want map[netip.Addr]Params) {
	var gone []*runner
	s.mu.Lock()
	for peer, r := range s.sessions {
		if p, wanted := want[peer]; !wanted || place(p) != r.place() {
			gone = append(gone, r)
			delete(s.sessions, peer)
		}
	}
	s.mu.Unlock()
	for _, r := range gone {
		r.end()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for peer, p := range want {
		if r := s.sessions[peer]; r != nil {
			r.set(p)
		} else if !s.closed {
			s.sessions[peer] = s.begin(peer, p)
		}
	}
	needed := map[door]bool{}
	for _, r := range s.sessions {
		needed[r.door] = true
	}
	for d, c := range s.sockets {
		if !needed[d] {
			_ = c.Close()
			delete(s.sockets, d)
		}
	}
}

// Status of a session; false: there is none.
func (s *Server) Status(peer netip.Addr) (Status, bool) {
	s.mu.Lock()
	r := s.sessions[peer]
	s.mu.Unlock()
	if r == nil {
		return Status{}, false
	}
	return r.status(), true
}

// Close ends all sessions, and tells the peers that this is no failure: a router that
// keeps the routes of a BGP session which restarts would take silence for one.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	gone := slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()
	for _, r := range gone {
		r.end()
	}
	s.mu.Lock()
	for _, c := range s.sockets {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.readers.Wait()
}

// listen opens the socket that the packets of a session come in by.
func (s *Server) listen(d door) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sockets[d] != nil || s.closed {
		return nil
	}
	c, err := listen(d)
	if err != nil {
		return err
	}
	s.sockets[d] = c
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		s.read(c, d)
	}()
	return nil
}

// read takes packets until the socket is closed.
func (s *Server) read(c *net.UDPConn, d door) {
	b, control := make([]byte, 256), make([]byte, 256)
	for {
		n, m, _, from, err := c.ReadMsgUDPAddrPort(b, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("bfd packet not read", "err", err)
			time.Sleep(100 * time.Millisecond) // whatever it is, it must not take a processor
			continue
		}
		p, err := parse(b[:n])
		if err != nil {
			s.log.Debug("bfd packet discarded", "from", from, "err", err)
			continue
		}
		s.mu.Lock()
		r := s.sessions[from.Addr().Unmap()]
		s.mu.Unlock()
		if r != nil && r.door == d && hopLimit(control[:m]) >= r.least {
			r.take(p)
		}
	}
}

// runner runs one session. Its goroutine alone sends and keeps the time.
type runner struct {
	server *Server
	peer   netip.Addr
	door   door
	least  int // hop limit of what is taken
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{}

	mu      sync.Mutex
	session *session
	inbox   []packet
	params  *Params // new ones
	began   time.Time
	deaf    error // why nothing can be received
	mute    error // why nothing can be sent
}

// place is the part of the parameters that belongs to the sockets.
func place(p Params) Params {
	return Params{Local: p.Local, Interface: p.Interface, Hops: max(p.Hops, 1)}
}

func (r *runner) place() Params {
	r.mu.Lock()
	defer r.mu.Unlock()
	return place(r.session.Params)
}

const (
	portSingle, portMulti = 3784, 4784
	most                  = 16 // packets that wait; more would be a flood
)

func (s *Server) begin(peer netip.Addr, p Params) *runner {
	ctx, cancel := context.WithCancel(context.Background())
	now := time.Now()
	r := &runner{
		server: s, peer: peer, door: door{peer.Is6(), portSingle}, least: 255,
		cancel: cancel, ended: make(chan struct{}), wake: make(chan struct{}, 1),
		session: newSession(p, rand.Uint32N(1<<32-1)+1, now), began: now,
	}
	if p.Hops > 1 {
		r.door.port, r.least = portMulti, 256-int(p.Hops)
	}
	go r.run(ctx)
	return r
}

func (r *runner) end() {
	r.cancel()
	<-r.ended
}

func (r *runner) set(p Params) {
	r.mu.Lock()
	if r.params != nil || r.session.Params != p {
		r.params = &p
	}
	r.mu.Unlock()
	r.poke()
}

func (r *runner) take(p packet) {
	r.mu.Lock()
	if len(r.inbox) < most {
		r.inbox = append(r.inbox, p)
	}
	r.mu.Unlock()
	r.poke()
}

func (r *runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run sends, receives and watches the time until ctx ends.
func (r *runner) run(ctx context.Context) {
	defer close(r.ended)
	out := &sender{peer: r.peer, port: r.door.port}
	defer out.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.leave(out)
			return
		case <-r.wake:
		case <-timer.C:
		}
		timer.Reset(time.Until(r.step(out)))
	}
}

// step does what is due, and returns when the next thing is.
func (r *runner) step(out *sender) time.Time {
	deaf := r.server.listen(r.door)
	r.mu.Lock()
	r.deaf = deaf
	s, now := r.session, time.Now()
	before := s.state
	send := s.begin(now)
	if r.params != nil {
		send = s.change(now, *r.params) || send
		r.params = nil
	}
	var packets []packet
	for _, p := range r.inbox {
		soon, final := s.receive(now, p)
		send = send || soon
		if final {
			answer := s.packet()
			answer.poll, answer.final = false, true
			packets = append(packets, answer)
		}
	}
	r.inbox = r.inbox[:0]
	if !s.deadline.IsZero() && !now.Before(s.deadline) && s.expire(now) {
		send = true
	}
	if (send || !now.Before(s.next)) && len(packets) == 0 {
		packets = append(packets, s.packet())
	}
	if s.mute() {
		packets = nil
	}
	if len(packets) > 0 {
		s.sent(now, rand.Float64())
	}
	params, after := s.Params, s.state
	next := s.next
	switch {
	case s.Held:
		next = now.Add(time.Minute)
	case !s.quiet.IsZero():
		next = s.quiet
	}
	if !s.deadline.IsZero() && s.deadline.Before(next) {
		next = s.deadline
	}
	r.mu.Unlock()
	if after == Down {
		out.renew() // the address to send from may be another one by now
	}
	for _, p := range packets {
		err := out.send(params, p)
		r.mu.Lock()
		r.mute = err
		r.mu.Unlock()
	}
	if before != after {
		r.server.changed(r.peer)
	}
	return next
}

// leave says that this side has switched the session off.
func (r *runner) leave(out *sender) {
	r.mu.Lock()
	p := r.session.packet()
	params := r.session.Params
	r.mu.Unlock()
	if params.Held {
		return // the peer has not heard of it
	}
	p.state, p.diag, p.poll = AdminDown, adminDown, false
	_ = out.send(params, p)
}

func (r *runner) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.session
	st := Status{State: s.state, Downs: s.downs, Why: s.why, Heard: !r.silent()}
	if s.state != Up {
		st.Fault = r.fault()
	}
	return st
}

func (r *runner) silent() bool {
	return r.session.heard.IsZero() || time.Since(r.session.heard) > 5*time.Second
}

// fault says why a session is not Up, from what was seen of it.
func (r *runner) fault() string {
	switch {
	case errors.Is(r.deaf, syscall.EADDRINUSE):
		return fmt.Sprintf("UDP port %d of this node is taken: end the other BFD daemon, or leave out bfdProfile", r.door.port)
	case r.session.Held:
		return ""
	case r.deaf != nil:
		return fmt.Sprintf("this node cannot receive BFD: %v", r.deaf)
	case errors.Is(r.mute, syscall.ECONNREFUSED):
		return fmt.Sprintf("the peer does not listen on UDP port %d: no BFD runs there", r.door.port)
	case r.mute != nil:
		return fmt.Sprintf("this node cannot send BFD to the peer: %v", r.mute)
	case r.silent():
		return fmt.Sprintf("nothing comes from the peer: look whether it has BFD for this node's address, and for a firewall on UDP port %d", r.door.port)
	case r.session.peer.state == AdminDown:
		return "the peer has switched BFD off for this node"
	default:
		return fmt.Sprintf("the peer does not hear this node: look for a firewall on UDP port %d", r.door.port)
	}
}
