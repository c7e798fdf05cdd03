// Package speaker is the loop of one node: what is known goes into plan.Turn, the
// table that comes out goes to the announcers.
package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// Source is what the speaker knows of the cluster.
type Source interface {
	// Snapshot is false until the caches have synced once. They may grow old
	// after that, when the API server is away, but they never grow empty.
	Snapshot() (cluster.Snapshot, bool)
	// Config is the text of the accepted configuration; false: there is none.
	Config() (text string, ok bool)
	// Wake has an element whenever one of the two may have changed.
	Wake() <-chan struct{}
	// LastAway is when the API server was found away last, after more than a
	// moment's absence; the zero time: never.
	LastAway() time.Time
}

// An Announcer makes what is announced equal to t. t is the whole truth, never a
// delta. After an error it keeps what did work; call it again.
type Announcer interface {
	Apply(ctx context.Context, t plan.Table) error
}

// Options configure a Speaker.
type Options struct {
	Node       string             // required: the name of this Node
	Source     Source             // required
	Announcers []Announcer        // applied in this order
	Members    Members            // nil: there is no gossip, and so no layer 2
	Links      Links              // nil: they are not known
	Forwarding Forwarding         // nil: this node is taken to forward whatever it announces
	Gateways   Gateways           // nil: they are not known
	Log        *slog.Logger       // nil: discard
	Applied    func(State, error) // after each Apply, for metrics; nil: nothing

	// Took is told of the addresses that this node has begun to answer for at
	// layer 2, one call for each Service. nil: nothing.
	Took func(s cluster.Service, note string)
	// Rescue is what an earlier speaker on this node remembered. nil: nothing.
	Rescue plan.RescueMemory
	// Fused is told that a mass withdrawal is held back. nil: nothing.
	Fused func(note string)
	// Trouble is told of a Service that this node does not serve as it should:
	// RulesOutdated or NoUsableLink. nil: nothing.
	Trouble func(s cluster.Service, r plan.Reason, note string)
	// Joined is called when a member has come, or has come back: while it was
	// away it may have answered for what we answer for. nil: nothing.
	Joined func()
}

// Speaker announces what one node must announce.
type Speaker struct {
	o     Options
	state atomic.Pointer[State]

	// Owned by Run.
	configText string
	config     *config.Config
	memory     plan.Memory
	applied    plan.Table
	applies    bool // a table has been applied
	failed     bool
	backoff    time.Duration
	alive      map[string]bool
	owners     map[netip.Addr]string // who owned each address last, so that who takes one over can say from whom
	began      time.Time             // when there was a table to apply first
	troubles   map[trouble]bool      // that were told
	leaving    *leaving
}

// State is what the speaker did last, for /state and metrics.
type State struct {
	Node        string
	ConfigHash  string     // of the configuration in force; empty: none yet
	ConfigError string     // why a newer one is not in force; empty: it is
	Table       plan.Table // as applied, with the weights announced
	Holds       plan.Holds
	Fused       int               // addresses that are announced only because their withdrawal is held back
	FusedSince  time.Time         // zero: none is
	Remembered  plan.RescueMemory // who announced what, for flow rescue
	Doubted     int               // endpoints and nodes that count as ready although the API server says otherwise
	Alive       []string
	Drains      string        // why this node drains; empty: it does not
	DrainTime   time.Duration // for how long, in the configuration in force
	Error       string        // of the last Apply; empty: it worked
	At          time.Time
}

// New checks the options. It starts nothing.
func New(o Options) (*Speaker, error) {
	if o.Node == "" {
		return nil, errors.New("speaker: Node is required")
	}
	if o.Source == nil {
		return nil, errors.New("speaker: Source is required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Speaker{o: o, leaving: newLeaving(), memory: plan.Memory{Rescue: o.Rescue}}
	s.state.Store(&State{Node: o.Node})
	return s, nil
}

// State is the newest State. Safe from any goroutine.
func (s *Speaker) State() State { return *s.state.Load() }

// The least pause between two computations, as a fixed floor and as a multiple
// of what the last one took: a burst of events costs a fifth of a core at most.
// The first event of a burst never waits.
const (
	pauseFloor  = 20 * time.Millisecond
	pauseFactor = 4
	// mostDebt is how much may be computed beyond that, all in all, because members
	// have died: who takes their addresses over must not pause first. It is paid back
	// before others may do so again.
	mostDebt = time.Second
)

// Run computes and applies until ctx is done. It withdraws nothing when it ends:
// that is for the announcers' own end to decide.
func (s *Speaker) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	members, links := s.membersWake(), s.linksWake()
	forwarding, gateways := s.forwardingWake(), s.gatewaysWake()
	var d debt
	for urgent := false; ; {
		if !urgent {
			select {
			case <-ctx.Done():
				return nil
			case <-s.o.Source.Wake():
			case <-members:
			case <-links:
			case <-forwarding:
			case <-gateways:
			case <-s.leaving.wake:
			case <-timer.C:
			}
		}
		begun := time.Now()
		next := s.step(ctx, begun)
		took := time.Since(begun)
		hurry := members
		if d.add(took, time.Now()) > mostDebt {
			hurry = nil
		}
		if urgent = rest(ctx, pause(took), hurry); ctx.Err() != nil {
			return nil
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

func pause(took time.Duration) time.Duration { return max(pauseFloor, pauseFactor*took) }

// debt is how much longer than a fifth of the time has been computed.
type debt struct {
	owed time.Duration
	at   time.Time
}

// add adds a computation that took so long and has just ended.
func (d *debt) add(took time.Duration, now time.Time) time.Duration {
	if !d.at.IsZero() {
		d.owed = max(0, d.owed-now.Sub(d.at)/(pauseFactor+1))
	}
	d.owed, d.at = d.owed+took, now
	return d.owed
}

// rest waits, but not while a member may have died: that ends it, and is urgent.
func rest(ctx context.Context, d time.Duration, members <-chan struct{}) (urgent bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-members:
		return true
	}
	return false
}

// step computes and applies once. It returns when to do so again without an
// event, or the zero time.
func (s *Speaker) step(ctx context.Context, now time.Time) time.Time {
	defer func() { s.leaving.note(s.applied, s.failed) }()
	snapshot, synced := s.o.Source.Snapshot()
	if !synced {
		return time.Time{} // nothing new to announce, and nothing to withdraw
	}
	state := s.State()
	state.ConfigError = s.loadConfig()
	if s.config == nil {
		s.state.Store(&state)
		return time.Time{}
	}
	joined := s.look()
	facts := s.facts(snapshot, now)
	believed := s.memory.Believed(facts)
	s.ask(believed)
	if !s.applies && s.early(now) {
		return now.Add(firstWithin)
	}
	was := s.memory
	table, is := plan.Turn(was, facts)
	s.memory = is
	s.tellHeld(was, is)
	next := table.Next
	state.ConfigHash, state.DrainTime = is.ConfigHash, s.config.Nodes.DrainTime
	state.Drains = plan.Drains(nodeOf(believed, s.o.Node), s.config.Nodes)
	state.Table, state.Holds, state.Doubted, state.At = table, is.Holds, is.Doubts.Held(), now
	state.Remembered = is.Rescue
	state.Fused, state.FusedSince = is.Fuse.Held(), is.Fuse.Since()
	state.Alive = slices.Sorted(maps.Keys(s.alive))
	if joined && s.o.Joined != nil {
		defer s.o.Joined()
	}
	s.tellTroubles(table, believed)
	// Also of a table that is the same: others may own what they did not before.
	defer s.tell(s.applied.Claims, table, believed.Services)
	if !s.failed && table.Same(s.applied) {
		s.state.Store(&state)
		return next
	}
	s.logChange(table)
	err := s.apply(ctx, table)
	state.Error = ""
	if err != nil {
		state.Error = err.Error()
		next = s.retryAt(now, next)
	}
	s.state.Store(&state)
	if s.o.Applied != nil {
		s.o.Applied(state, err)
	}
	return next
}

// tellHeld says that what the API server tells is held back from now on.
func (s *Speaker) tellHeld(was, is plan.Memory) {
	if n := is.Doubts.Held(); n > 0 && was.Doubts.Held() == 0 {
		s.o.Log.Warn("lost readiness not believed yet: the API server has only just come back", "held", n)
	}
	if n := is.Fuse.Held(); n > 0 && was.Fuse.Held() == 0 {
		hold := s.config.Nodes.Fuse.HoldTime
		s.o.Log.Error("mass withdrawal held back", "addresses", n, "for", hold)
		if s.o.Fused != nil {
			s.o.Fused(fmt.Sprintf("the withdrawal of %d addresses that no node would announce any more is held back for %s", n, hold))
		}
	}
}

// loadConfig takes a new configuration into force. One that this speaker cannot
// read (it may be older than the allocator) leaves the last one in force.
func (s *Speaker) loadConfig() (problem string) {
	text, ok := s.o.Source.Config()
	if !ok || (s.config != nil && text == s.configText) {
		return ""
	}
	c, err := config.Parse([]byte(text))
	if err != nil {
		problem = fmt.Sprintf("accepted configuration: %v", err)
		if s.State().ConfigError != problem {
			s.o.Log.Error("configuration refused", "err", err)
		}
		return problem
	}
	s.config, s.configText = c, text
	s.o.Log.Info("configuration in force", "hash", c.Hash(), "pools", len(c.Pools), "peers", len(c.Peers))
	return ""
}

// earlier ignores zero times.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func (s *Speaker) apply(ctx context.Context, t plan.Table) error {
	var errs []error
	for _, a := range s.o.Announcers {
		errs = append(errs, a.Apply(ctx, t))
	}
	err := errors.Join(errs...)
	s.failed, s.applied, s.applies = err != nil, t, true
	if err != nil {
		s.o.Log.Error("table not applied", "err", err)
		return err
	}
	s.backoff = 0
	return nil
}

func (s *Speaker) retryAt(now, next time.Time) time.Time {
	s.backoff = min(max(2*s.backoff, 100*time.Millisecond), 10*time.Second)
	return earlier(now.Add(s.backoff), next)
}

// logChange says what the new table announces anew, withdraws or weighs
// otherwise: a line per prefix and peer, since these are what an operator
// compares with the router.
func (s *Speaker) logChange(t plan.Table) {
	type key struct{ peer, prefix string }
	before := make(map[key]uint32, len(s.applied.Routes))
	drained := map[key]bool{}
	for _, r := range s.applied.Routes {
		k := key{r.Peer, r.Prefix.String()}
		before[k], drained[k] = r.Weight, r.Draining
	}
	for _, r := range t.Routes {
		k := key{r.Peer, r.Prefix.String()}
		was, had := before[k]
		delete(before, k)
		switch {
		case !had:
			s.o.Log.Info("route announced", "prefix", r.Prefix, "peer", r.Peer, "weight", r.Weight)
		case r.Draining && !drained[k]:
			s.o.Log.Info("route drains", "prefix", r.Prefix, "peer", r.Peer)
		case was != r.Weight:
			s.o.Log.Info("route weight changed", "prefix", r.Prefix, "peer", r.Peer, "weight", r.Weight, "was", was)
		}
	}
	for k := range before {
		s.o.Log.Info("route withdrawn", "prefix", k.prefix, "peer", k.peer)
	}
	for _, p := range t.Refused {
		if !slices.Contains(s.applied.Refused, p) {
			s.o.Log.Warn("peer refused", "peer", p.Name, "problem", p.Problem)
		}
	}
	s.logClaims(t)
}
