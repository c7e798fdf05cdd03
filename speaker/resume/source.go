package resume

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/forwarding"
	"github.com/heraldlb/herald/speaker/plan"
)

// The times of a Source.
const (
	// waitFor is how long the API server may take to answer a new speaker. A
	// router keeps our routes far longer (RestartTime).
	waitFor = 3 * time.Second
	// saveEvery and saveFactor bound the writes to the disk, and what they cost: a
	// fiftieth of a core at most.
	saveEvery  = 5 * time.Second
	saveFactor = 50
)

// Cluster is what a speaker knows of the cluster; see speaker.Source.
type Cluster interface {
	Snapshot() (cluster.Snapshot, bool)
	Config() (text string, ok bool)
	Wake() <-chan struct{}
	LastAway() time.Time
}

// Options of a Source.
type Options struct {
	File   string // empty: nothing is saved or resumed
	Node   string
	BootID string
	Log    *slog.Logger
}

// Source is a Cluster that stands in with the saved state until the real one has
// synced.
type Source struct {
	Cluster
	o       Options
	wake    chan struct{}
	resumed atomic.Pointer[State]
	missing atomic.Pointer[cluster.Missing] // what the first list did not have of the saved state
	news    chan State                      // what to save; the newest only
}

// New makes a Source. It reads nothing yet.
func New(c Cluster, o Options) *Source {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{Cluster: c, o: o, wake: make(chan struct{}, 1), news: make(chan State, 1)}
}

// Snapshot implements speaker.Source.
func (s *Source) Snapshot() (cluster.Snapshot, bool) {
	snapshot, ok := s.Cluster.Snapshot()
	r := s.resumed.Load()
	switch {
	case r == nil:
		return snapshot, ok
	case !ok:
		return r.Snapshot, true
	}
	first := s.missing.Load()
	if first == nil {
		first = missingIn(snapshot, r.Snapshot)
	}
	first = stillMissing(snapshot, first)
	s.missing.Store(first)
	snapshot.Missing = union(snapshot.Missing, *first)
	return snapshot, true
}

// Config implements speaker.Source.
func (s *Source) Config() (string, bool) {
	text, ok := s.Cluster.Config()
	if _, synced := s.Cluster.Snapshot(); synced || ok {
		return text, ok
	}
	if r := s.resumed.Load(); r != nil {
		return r.Config, true
	}
	return text, ok
}

// Wake implements speaker.Source.
func (s *Source) Wake() <-chan struct{} { return s.wake }

// Resumed is when the state was saved that is announced from now, because the
// API server has not answered since this process began; the zero time: none is.
func (s *Source) Resumed() time.Time {
	r := s.resumed.Load()
	if _, synced := s.Cluster.Snapshot(); synced || r == nil {
		return time.Time{}
	}
	return r.Saved
}

// Forwarded is what this node forwarded at the end of the last speaker, if it has
// not been rebooted since.
func (s *Source) Forwarded() []forwarding.Key {
	st, err := s.load()
	if err != nil || s.o.BootID == "" || st.BootID != s.o.BootID {
		return nil
	}
	return st.Forwarded
}

// Rescue is what the last speaker remembered of who announced what.
func (s *Source) Rescue() plan.RescueMemory {
	st, err := s.load()
	if err != nil {
		return nil
	}
	return st.Rescue.Resume(st.Saved, time.Now())
}

func (s *Source) load() (State, error) {
	if s.o.File == "" {
		return State{}, errNone
	}
	return load(s.o.File, s.o.Node)
}

// Save notes what the next speaker would need. It is written soon, and at the
// end of Run.
func (s *Source) Save(forwarded []forwarding.Key, rescue plan.RescueMemory) {
	snapshot, synced := s.Cluster.Snapshot()
	text, ok := s.Cluster.Config()
	if s.o.File == "" || !synced || !ok {
		return
	}
	st := State{
		Node: s.o.Node, BootID: s.o.BootID, Saved: time.Now(), Config: text,
		Snapshot: relevant(snapshot), Forwarded: forwarded, Rescue: rescue,
	}
	select {
	case <-s.news:
	default:
	}
	select {
	case s.news <- st:
	default: // another caller was faster
	}
}

// Run passes the Cluster's news on, steps in for it, and saves, until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	late := time.NewTimer(waitFor)
	defer late.Stop()
	var due <-chan time.Time
	for {
		news := s.news
		if due != nil {
			news = nil // not again so soon
		}
		select {
		case <-ctx.Done():
			s.saveLast()
			return nil
		case <-s.Cluster.Wake():
			s.poke()
		case <-late.C:
			s.stepIn()
		case st := <-news:
			begun := time.Now()
			s.write(st)
			due = time.After(max(saveEvery, saveFactor*time.Since(begun)))
		case <-due:
			due = nil
		}
	}
}

func (s *Source) saveLast() {
	select {
	case st := <-s.news:
		s.write(st)
	default:
	}
}

func (s *Source) write(st State) {
	if err := save(s.o.File, st); err != nil {
		s.o.Log.Error("state not saved: a start without the API server would announce nothing", "err", err)
	}
}

// stepIn takes the saved state if nothing better has come.
func (s *Source) stepIn() {
	if _, synced := s.Cluster.Snapshot(); synced || s.o.File == "" {
		return
	}
	st, err := s.load()
	if err == nil {
		_, err = usable(st, time.Now())
	}
	switch {
	case errors.Is(err, errNone):
		s.o.Log.Warn("the API server does not answer, and no state was saved: nothing is announced yet")
	case err != nil:
		s.o.Log.Error("the API server does not answer, and the saved state is no use: nothing is announced yet", "err", err)
	default:
		s.resumed.Store(&st)
		s.o.Log.Warn("the API server does not answer: announcing what was announced last", "saved", st.Saved, "services", len(st.Snapshot.Services))
		s.poke()
	}
}

func (s *Source) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
