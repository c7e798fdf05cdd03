package l2

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// LinkStats is what was counted on one link since the start, and how it is. Only
// Up, Addresses and Rivals ever go down.
type LinkStats struct {
	Link      string
	Up        bool // it can carry frames, and its sockets are open
	Addresses int  // answered for
	Rivals    int  // addresses of ours for which another interface answers, too
	Error     string
	ARP, NDP  Counters
}

// Counters are the frames of one protocol on one link.
type Counters struct {
	Frames        uint64 // that passed the kernel's filter, and so woke us
	Requests      uint64 // for our addresses, probes of others included
	Unicast       uint64 // of Requests, those sent to this node alone
	Answers       uint64
	Malformed     uint64 // passed the filter and were not well formed
	Foreign       uint64 // in which another interface used one of our addresses
	Announcements uint64
	Probes        uint64 // sent to find out who else answers
	Unsent        uint64 // answers, announcements and probes that the kernel refused
	Dropped       uint64 // by the kernel, as they came faster than they were read
}

type family struct {
	frames, requests, unicast, answers, malformed, foreign atomic.Uint64
	announcements, probes, unsent, dropped                 atomic.Uint64
}

func (f *family) values() Counters {
	return Counters{
		Frames:        f.frames.Load(),
		Requests:      f.requests.Load(),
		Unicast:       f.unicast.Load(),
		Answers:       f.answers.Load(),
		Malformed:     f.malformed.Load(),
		Foreign:       f.foreign.Load(),
		Announcements: f.announcements.Load(),
		Probes:        f.probes.Load(),
		Unsent:        f.unsent.Load(),
		Dropped:       f.dropped.Load(),
	}
}

// sent counts a frame, and returns err. A queue that is full is not counted: the
// frame will be sent again.
func (f *family) sent(as *atomic.Uint64, err error) error {
	switch {
	case err == nil:
		as.Add(1)
	case !full(err):
		f.unsent.Add(1)
	}
	return err
}

// counters are those of a link. They outlive its sockets.
type counters struct{ arp, ndp family }

// stats holds what any goroutine may ask for.
type stats struct {
	mu    sync.Mutex
	links map[string]*entry
}

type entry struct {
	counters counters
	state    LinkStats
}

func (s *stats) entry(name string) *entry {
	if s.links == nil {
		s.links = map[string]*entry{}
	}
	if s.links[name] == nil {
		s.links[name] = &entry{}
	}
	return s.links[name]
}

func (s *stats) of(name string) *counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &s.entry(name).counters
}

// set notes how a link is.
func (s *stats) set(state LinkStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry(state.Link).state = state
}

func (s *stats) list() []LinkStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]LinkStats, 0, len(s.links))
	for name, e := range s.links {
		one := e.state
		one.Link, one.ARP, one.NDP = name, e.counters.arp.values(), e.counters.ndp.values()
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b LinkStats) int { return cmp.Compare(a.Link, b.Link) })
	return out
}
