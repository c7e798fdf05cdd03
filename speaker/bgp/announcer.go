// Package bgp makes BGP sessions and the routes announced over them equal to a
// plan.Table. It is the only importer of gobgp.
//
// Every session has a VRF of its own within the one gobgp server, and the
// routes for its peer are that VRF's. So a peer gets exactly what the table
// says for it, with attributes of its own, and no export policy has to tell the
// peers apart; what one neighbour sends can never reach another.
package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/heraldlb/herald/speaker/plan"
)

// Options of an Announcer.
type Options struct {
	Log       *slog.Logger  // nil: discard
	HangAfter time.Duration // a gobgp call that takes longer is a fault; zero: 10s

	// Password returns the password that a key of the Secret herald-bgp has. It is
	// asked when a session opens, and again every few seconds: another password
	// opens the session anew. nil: there are none.
	Password func(key string) (string, error)
}

// Announcer announces the routes of the last table that it was given.
type Announcer struct {
	o Options

	started  atomic.Bool
	leaving  atomic.Bool
	requests chan request
	done     chan struct{} // closed when Run has returned
	calls    calls
	status   *status
}

// request is a table on its way from Apply to Run.
type request struct {
	table  plan.Table
	result chan<- error
}

// New makes an Announcer that announces nothing until Run.
func New(o Options) (*Announcer, error) {
	if o.HangAfter < 0 {
		return nil, fmt.Errorf("bgp: HangAfter is %v: must not be negative", o.HangAfter)
	}
	if o.HangAfter == 0 {
		o.HangAfter = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Announcer{
		o:        o,
		requests: make(chan request),
		done:     make(chan struct{}),
		status:   newStatus(o.Log),
	}, nil
}

// Leave says that the node will not be back soon: when Run ends, all sessions end
// with a Cease, so that the peers withdraw this node's routes at once.
func (a *Announcer) Leave() { a.leaving.Store(true) }

// Run owns the gobgp server until ctx ends. Unless Leave was called, sessions
// with graceful restart (RFC 4724) then end without a word, and their peers keep
// the routes for the restart time; the others end with a Cease. Run may be called
// once.
func (a *Announcer) Run(ctx context.Context) error {
	if a.started.Swap(true) {
		return errors.New("bgp: Run was called before")
	}
	defer close(a.done)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.loop(ctx)
	}()
	<-ctx.Done()
	// A gobgp that hangs must not keep the process from ending.
	select {
	case <-stopped:
		return nil
	case <-time.After(a.o.HangAfter):
		return fmt.Errorf("bgp: gobgp has not stopped within %v", a.o.HangAfter)
	}
}

// loop is the one goroutine that calls gobgp.
func (a *Announcer) loop(ctx context.Context) {
	s := newSpeaker(a.o, &a.calls, a.status)
	defer close(s.ended)
	probe := time.NewTicker(5 * time.Second)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			s.listenOnLinks(nil)
			s.stop(!a.leaving.Load())
			s.bfd.Close()
			return
		case r := <-a.requests:
			r.result <- s.apply(r.table)
		case e := <-s.events:
			if err := s.handle(e); err != nil {
				a.o.Log.Error("bgp session not repaired", "peer", e.name, "err", err)
			}
		case <-probe.C:
			s.probe()
		}
	}
}

// Apply makes sessions and routes equal to t, which is the whole truth and never
// a delta. After an error everything that could be done is done; call it again.
// That a session is down is no error, nor that this node lacks an address to be
// the next hop of some routes: see Peers.
// Until Run is called it waits. When ctx ends it returns early, but a table that
// Run has begun with is still applied.
func (a *Announcer) Apply(ctx context.Context, t plan.Table) error {
	result := make(chan error, 1)
	select {
	case a.requests <- request{t, result}:
	case <-a.done:
		return errors.New("bgp: the announcer has stopped")
	case <-ctx.Done():
		return fmt.Errorf("bgp: table not applied: %w", ctx.Err())
	}
	select {
	case err := <-result:
		return err
	case <-a.done:
		return errors.New("bgp: the announcer has stopped")
	case <-ctx.Done():
		return fmt.Errorf("bgp: table still being applied: %w", ctx.Err())
	}
}

// Peers is what was seen of each session, sorted by name. Any goroutine may call
// it.
func (a *Announcer) Peers() []PeerStatus { return a.status.list() }

// Healthy is nil unless a call into gobgp hangs. Any goroutine may call it.
func (a *Announcer) Healthy() error { return a.calls.hung(a.o.HangAfter) }
