package bgp

import (
	"log/slog"
	"net/netip"
	"sort"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

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
	ASN         uint32 // the peer's; 0: any, and it has not said it yet
	State       State
	Since       time.Time // it is up, or down, since then
	LastError   string    // what went wrong last and what to look at; stays when it is up again
	LastErrorAt time.Time
	Routes      int    // prefixes for Services that gobgp announces to the peer; 0 unless it is Established
	PodCIDRs    int    // and those of the node's pods
	BFD         string // Up, Init or Down; empty: none
	Restarts    bool   // the peer keeps our routes while we restart (RFC 4724), as of its last OPEN
	AddPath     bool   // the peer takes more than one path of a prefix (RFC 7911), as of its last OPEN, in each family that we have routes of
	Reflects    bool   // the peer has sent us a path of an address of ours that it has from another client (RFC 4456)
	Withheld    string // why routes that the peer should get are missing; empty: none is
}

// status holds the PeerStatus of each session. gobgp's goroutines write it too.
type status struct {
	log   *slog.Logger
	mu    sync.Mutex
	peers map[string]*entry
}

// entry is a PeerStatus and what it is made from.
type entry struct {
	PeerStatus
	session   plan.Session
	missing   string    // why gobgp was not given all routes
	has, does families  // of the routes, and of the peer as of its last OPEN
	paths     families  // of which it takes ADD-PATH
	changed   time.Time // when State changed last
	connected time.Time // when the peer took a connection of ours last
	bfdCease  time.Time // when the peer ended the session last because of BFD
}

func newStatus(log *slog.Logger) *status {
	return &status{log: log, peers: map[string]*entry{}}
}

func (st *status) list() []PeerStatus {
	st.mu.Lock()
	defer st.mu.Unlock()
	list := make([]PeerStatus, 0, len(st.peers))
	for _, p := range st.peers {
		one := p.PeerStatus
		if one.State != Established {
			one.Routes, one.PodCIDRs = 0, 0
		}
		one.Routes = max(0, one.Routes-one.PodCIDRs)
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
	st.peers[s.Name] = &entry{
		PeerStatus: PeerStatus{Name: s.Name, Address: s.Address, ASN: s.ASN, State: Idle, Since: time.Now()},
		session:    s, changed: time.Now(),
	}
}

// session is the one with the peer of an address.
func (st *status) session(addr netip.Addr) plan.Session {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.find(addr); p != nil {
		return p.session
	}
	return plan.Session{}
}

// is tells whether a session is in a state.
func (st *status) is(name string, state State) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.peers[name]
	return p != nil && p.State == state
}

// established tells since when a session is.
func (st *status) established(name string) (since time.Time, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.peers[name]
	if p == nil || p.State != Established {
		return time.Time{}, false
	}
	return p.Since, true
}

func (st *status) remove(name string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.peers, name)
}

// change notes a session's new state, and why it went back. It returns the
// session's name and the state that it was in.
func (st *status) change(addr netip.Addr, to State, why func(from State) string) (name string, from State) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.find(addr)
	if p == nil || p.State == to {
		return "", to
	}
	from = p.State
	p.State, p.changed, p.connected = to, time.Now(), time.Time{}
	if (from == Established) != (to == Established) {
		p.Since = time.Now()
		st.withhold(p)
	}
	reason := why(from)
	if from == Established {
		// A reason that the log gave just now says more.
		if reason != "" && time.Since(p.LastErrorAt) > time.Second {
			p.note(reason)
		}
		st.log.Warn("bgp session lost", "peer", p.Name, "address", p.Address, "state", to, "reason", p.LastError)
		return p.Name, from
	}
	st.log.Debug("bgp session state", "peer", p.Name, "address", p.Address, "state", to)
	if to == Established {
		st.log.Info("bgp session established", "peer", p.Name, "address", p.Address)
	} else if reason != "" {
		st.fail(p, reason)
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

func (st *status) fail(p *entry, reason string) {
	news := p.LastError != reason || p.LastErrorAt.Before(p.Since)
	p.note(reason)
	if news && p.State != Established {
		st.log.Warn("bgp session not established", "peer", p.Name, "address", p.Address, "state", p.State, "reason", reason)
	}
}

func (p *PeerStatus) note(reason string) { p.LastError, p.LastErrorAt = reason, time.Now() }

// heard notes what a peer said of itself in its OPEN.
func (st *status) heard(addr netip.Addr, asn uint32, list []bgp.ParameterCapabilityInterface) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.find(addr)
	if p == nil {
		return
	}
	p.ASN, p.Restarts, p.Reflects, p.does, p.paths = asn, false, false, families{}, families{}
	for _, c := range list {
		switch c := c.(type) {
		case *bgp.CapMultiProtocol: // gobgp makes one for a peer that names no family
			p.does.add(c.CapValue == bgp.RF_IPv4_UC, c.CapValue == bgp.RF_IPv6_UC)
		case *bgp.CapGracefulRestart:
			p.Restarts = p.session.RestartTime > 0
		case *bgp.CapAddPath:
			for _, t := range c.Tuples {
				takes := t.Mode&bgp.BGP_ADD_PATH_RECEIVE != 0
				p.paths.add(takes && t.Family == bgp.RF_IPv4_UC, takes && t.Family == bgp.RF_IPv6_UC)
			}
		}
	}
	p.AddPath = p.paths.all(p.has)
}

// asn is the AS number of a peer, as of its last OPEN.
func (st *status) asn(name string) uint32 {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.peers[name]; p != nil {
		return p.ASN
	}
	return 0
}

// sent notes how many prefixes gobgp announces to a peer.
func (st *status) sent(name string, n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.peers[name]; p != nil {
		p.Routes = n
	}
}

// takesPaths tells whether a peer has said that it takes ADD-PATH, of some family.
func (st *status) takesPaths(name string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.peers[name]
	return p != nil && p.paths != families{}
}

// reflects notes that a peer is a route reflector.
func (st *status) reflects(name string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.peers[name]; p != nil {
		p.Reflects = true
	}
}

// unprotected notes what keeps BFD from watching over a session that is up. It is
// logged once.
func (st *status) unprotected(name, reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.peers[name]
	if p == nil {
		return
	}
	if p.LastError != reason || p.LastErrorAt.Before(p.Since) {
		st.log.Warn("bgp session without BFD", "peer", p.Name, "address", p.Address, "reason", reason)
	}
	p.note(reason)
}

// idle notes that a session is not even tried.
func (st *status) idle(name string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.peers[name]; p != nil && p.State != Idle {
		if p.State == Established {
			p.Since = time.Now()
			st.withhold(p)
		}
		p.State, p.changed, p.connected = Idle, time.Now(), time.Time{}
	}
}

// bfd notes the state of a BFD session.
func (st *status) bfd(addr netip.Addr, state string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.find(addr); p != nil && p.BFD != state {
		p.BFD = state
		st.log.Info("bfd session state", "peer", p.Name, "address", p.Address, "state", state)
	}
}

// waits says that a session waits for its peer.
func (st *status) waits(name string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.peers[name].State = Active
}

// bfdCeased notes that the peer has ended the session because of BFD.
func (st *status) bfdCeased(addr netip.Addr) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.find(addr); p != nil {
		p.bfdCease = time.Now()
	}
}

// endedByBFD tells whether the peer has ended the session because of BFD just now.
func (st *status) endedByBFD(name string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.peers[name]
	return p != nil && time.Since(p.bfdCease) < time.Second
}

// connected notes that the peer has taken a connection of ours.
func (st *status) connected(addr netip.Addr) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.find(addr); p != nil {
		p.connected = time.Now()
	}
}

// stuck notes what is wrong with sessions that stand still, as gobgp waits for
// minutes without a word. It returns their names. Those that wait do so on a port.
func (st *status) stuck(limit time.Duration, port uint16) (names []string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	old := func(t time.Time) bool { return !t.IsZero() && time.Since(t) > limit }
	for _, p := range st.peers {
		switch {
		case p.State == Established:
			continue
		case p.session.Passive && p.State == Active && old(p.changed):
			st.fail(p, waiting(p.session, port))
			continue
		case old(p.connected):
			st.fail(p, silent)
		case p.State == OpenSent && old(p.changed):
			st.fail(p, silent)
		case p.State == OpenConfirm && old(p.changed):
			st.fail(p, deaf)
		default:
			continue
		}
		names = append(names, p.Name)
	}
	return names
}

func (st *status) find(addr netip.Addr) *entry {
	for _, p := range st.peers {
		if p.Address == addr {
			return p
		}
	}
	return nil
}
