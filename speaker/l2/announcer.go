// Package l2 answers ARP and neighbour discovery for the addresses that a
// plan.Table claims, and announces them to the segment. The addresses are not
// bound to the node: with them bound every node's kernel would answer. It is the
// only importer of the mdlayher libraries.
//
// What is decided about a frame is a pure function of the frame and an immutable
// table; a goroutine for each link and protocol reads, and one for each link
// sends what nobody asked for, at a limited rate. All else belongs to the one
// goroutine of Run.
package l2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/heraldlb/herald/speaker/plan"
)

// Options of an Announcer.
type Options struct {
	Log *slog.Logger // nil: discard

	// OnConflict is told of each Conflict when it begins and when it ends, and at
	// most every minute of the same one. It is called by the goroutine of Run, so
	// it must return soon. nil: they are only logged.
	OnConflict func(Conflict)

	// Peer names the node of ours that has a MAC. nil: whether a rival is a node
	// of ours cannot be told, so each gets a second to hand over before it is
	// treated as a stranger. It is called like OnConflict.
	Peer func(net.HardwareAddr) (node string, ok bool)

	// Rate limits the frames a second that each link sends unasked; zero: 10,000.
	Rate int
}

// Conflict is an address of ours that somebody else answers for, too.
type Conflict struct {
	Addr     netip.Addr
	Link     string
	MAC      net.HardwareAddr // the other's; nil if Bound
	Peer     string           // node of ours that has MAC; empty: a stranger, or not known
	Bound    bool             // it is this node's own kernel: the address is bound to Link
	Resolved bool             // it does so no longer, or the address is ours no longer
}

// Announcer answers for, and announces, the claims of the last table that it was
// given.
type Announcer struct {
	log        *slog.Logger
	onConflict func(Conflict)
	peer       func(net.HardwareAddr) (string, bool)
	rate       int

	started  atomic.Bool
	requests chan request
	done     chan struct{} // closed when Run has returned
	pokes    pokes
	seen     chan sighting
	stats    stats
}

// request is a table on its way from Apply to Run.
type request struct {
	table  plan.Table
	result chan<- error
}

// New makes an Announcer that does nothing until Run.
func New(o Options) (*Announcer, error) {
	if o.Rate < 0 {
		return nil, fmt.Errorf("l2: Rate is %d: must not be negative", o.Rate)
	}
	if o.Rate == 0 {
		o.Rate = 10_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnConflict == nil {
		o.OnConflict = func(Conflict) {}
	}
	return &Announcer{
		log:        o.Log,
		onConflict: o.OnConflict,
		peer:       o.Peer,
		rate:       o.Rate,
		requests:   make(chan request),
		done:       make(chan struct{}),
		pokes:      newPokes(),
		seen:       make(chan sighting, 256),
	}, nil
}

// Run answers and announces until ctx ends; then it stops answering at once. It
// may be called once.
func (a *Announcer) Run(ctx context.Context) error {
	if a.started.Swap(true) {
		return errors.New("l2: Run was called before")
	}
	defer close(a.done)
	newLoop(a).run(ctx)
	return nil
}

// Apply makes what is answered for equal to t.Claims, which is the whole truth
// and never a delta. What is withdrawn is not answered for any more when it
// returns; what is new is, and the first announcements are on their way. After
// an error all that could be done is done, and the rest is tried again twice a
// second. Until Run is called it waits.
func (a *Announcer) Apply(ctx context.Context, t plan.Table) error {
	result := make(chan error, 1)
	select {
	case a.requests <- request{t, result}:
	case <-a.done:
		return errors.New("l2: the announcer has stopped")
	case <-ctx.Done():
		return fmt.Errorf("l2: table not applied: %w", ctx.Err())
	}
	select {
	case err := <-result:
		return err
	case <-a.done:
		return errors.New("l2: the announcer has stopped")
	case <-ctx.Done():
		return fmt.Errorf("l2: table still being applied: %w", ctx.Err())
	}
}

// LinksChanged tells that links came, went, lost or regained their carrier; with
// no name, that any may have. What is claimed on a link named is announced again
// if the link is up. It never waits.
func (a *Announcer) LinksChanged(names ...string) { a.pokes.links(names) }

// Reannounce has everything claimed announced again, as after a partition of the
// segment has healed. It never waits.
func (a *Announcer) Reannounce(reason string) { a.pokes.all(reason) }

// Stats tells of each link that was ever claimed on, sorted by name. Any
// goroutine may call it.
func (a *Announcer) Stats() []LinkStats { return a.stats.list() }
