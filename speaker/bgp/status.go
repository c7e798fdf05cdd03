package bgp

import (
	"log/slog"
	"net/netip"
	"sort"
	"sync"
	"time"

	"github.com/heraldlb/herald/speaker/plan"
)

// State is a state of RFC 4271 section 8.2.2. While no session is up, gobgp
// calls every attempt to connect Active.
type State string

// The states.
const (
	Idle        State = "Idle"
	Connect     State = "Connect"
	Active      State = "Active"
	OpenSent    State = "OpenSent"
	OpenConfirm State = "OpenConfirm"
	Established State = "Established"
)

// PeerStatus is what was seen of a session.
type PeerStatus struct {
	Name        string
	Address     netip.Addr
	ASN         uint32
	State       State
	Since       time.Time // it is up, or down, since then
	LastError   string    // what went wrong last and what to look at; stays when it is up again
	LastErrorAt time.Time
	Routes      int    // announced to the peer; 0 unless it is Established
	Withheld    string // why routes that the peer should get are missing; empty: none is
}

// status holds the PeerStatus of each session. gobgp's goroutines write it too.
type status struct {
	log   *slog.Logger
	mu    sync.Mutex
	peers map[string]*PeerStatus
}

func newStatus(log *slog.Logger) *status {
	return &status{log: log, peers: map[string]*PeerStatus{}}
}

func (st *status) list() []PeerStatus {
	st.mu.Lock()
	defer st.mu.Unlock()
	list := make([]PeerStatus, 0, len(st.peers))
	for _, p := range st.peers {
		one := *p
		if one.State != Established {
			one.Routes = 0
		}
		list = append(list, one)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// add begins with a session, unless it is there.
func (st *status) add(s plan.Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.peers[s.Name] != nil {
		return
	}
	st.peers[s.Name] = &PeerStatus{Name: s.Name, Address: s.Address, ASN: s.ASN, State: Idle, Since: time.Now()}
}

// is tells whether a session is in a state.
func (st *status) is(name string, state State) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.peers[name]
	return p != nil && p.State == state
}

func (st *status) remove(name string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.peers, name)
}

// routes notes what a session's peer gets, and why not more.
func (st *status) routes(name string, n int, withheld string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.peers[name]
	if p == nil {
		return
	}
	if withheld != "" && withheld != p.Withheld {
		st.log.Warn("bgp routes withheld", "peer", p.Name, "address", p.Address, "reason", withheld)
	}
	p.Routes, p.Withheld = n, withheld
}

// change notes a session's new state, with the reason where it is a loss. It
// returns the session's name and the state that it was in.
func (st *status) change(addr netip.Addr, to State, reason string) (name string, from State) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.find(addr)
	if p == nil || p.State == to {
		return "", to
	}
	from = p.State
	p.State = to
	if (from == Established) != (to == Established) {
		p.Since = time.Now()
	}
	if from == Established {
		if reason != "" {
			p.fail(reason)
		}
		st.log.Warn("bgp session lost", "peer", p.Name, "address", p.Address, "state", to, "reason", p.LastError)
	} else {
		st.log.Info("bgp session state", "peer", p.Name, "address", p.Address, "state", to, "reason", reason)
	}
	return p.Name, from
}

// refuse notes why a session is not even tried.
func (st *status) refuse(name, reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.peers[name]; p != nil {
		st.fail(p, reason)
	}
}

// failed notes what went wrong with a session. What repeats is logged once.
func (st *status) failed(addr netip.Addr, reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.find(addr); p != nil {
		st.fail(p, reason)
	}
}

func (st *status) fail(p *PeerStatus, reason string) {
	news := p.LastError != reason || p.LastErrorAt.Before(p.Since)
	p.fail(reason)
	if news && p.State != Established {
		st.log.Warn("bgp session not established", "peer", p.Name, "address", p.Address, "state", p.State, "reason", reason)
	}
}

func (p *PeerStatus) fail(reason string) { p.LastError, p.LastErrorAt = reason, time.Now() }

func (st *status) find(addr netip.Addr) *PeerStatus {
	for _, p := range st.peers {
		if p.Address == addr {
			return p
		}
	}
	return nil
}
