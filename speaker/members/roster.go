package members

import (
	"bytes"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// roster holds what memberlist tells us. Its Notify methods are called under
// memberlist's lock, so they only write down and poke.
type roster struct {
	self  string
	meta  func() []byte // nil: we tell nothing of ourselves
	wake  chan struct{}
	doubt chan struct{} // poked when somebody is said to be dead
	news  chan news     // for the log; what does not fit is dropped

	mu      sync.Mutex
	closed  bool // nothing changes any more
	members map[string]*member
	lost    map[string]netip.AddrPort // failed and not back; those who left are forgotten
	leaving map[string]time.Time      // when they said farewell
	metas   map[string][]byte         // what each has told of itself, also those that are gone; see note
	deaths  uint64
	rumours uint64 // deaths that were none
}

type member struct {
	addr    netip.AddrPort
	since   time.Time
	doubted bool // said to be dead
	asked   bool // somebody finds out
}

// news is what report logs.
type news struct {
	what change
	node string
	addr netip.AddrPort
}

type change int

const (
	joined change = iota
	left
	failed
)

// farewellFor is how long a farewell explains a death.
const farewellFor = 5 * time.Second

func newRoster(self string, meta func() []byte) *roster {
	return &roster{
		self:    self,
		meta:    meta,
		wake:    make(chan struct{}, 1),
		doubt:   make(chan struct{}, 1),
		news:    make(chan news, 256),
		members: make(map[string]*member),
		lost:    make(map[string]netip.AddrPort),
		leaving: make(map[string]time.Time),
		metas:   make(map[string][]byte),
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *roster) say(what change, node string, addr netip.AddrPort) {
	select {
	case r.news <- news{what, node, addr}:
	default:
	}
}

func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

func (r *roster) alive() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	alive := map[string]bool{r.self: true}
	for name := range r.members {
		alive[name] = true
	}
	return alive
}

func (r *roster) addr(name string) (netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[name]
	if !ok {
		return netip.AddrPort{}, false
	}
	return m.addr, true
}

// NotifyJoin implements memberlist.EventDelegate.
func (r *roster) NotifyJoin(n *memberlist.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || n.Name == r.self {
		return
	}
	delete(r.lost, n.Name)
	delete(r.leaving, n.Name)
	r.note(n)
	addr := addrOf(n)
	if m, ok := r.members[n.Name]; ok {
		// The dead one has contradicted before we believed it.
		r.rumours++
		m.addr, m.doubted = addr, false
		return
	}
	r.members[n.Name] = &member{addr: addr, since: time.Now()}
	r.say(joined, n.Name, addr)
	poke(r.wake)
}

// NotifyLeave implements memberlist.EventDelegate.
func (r *roster) NotifyLeave(n *memberlist.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[n.Name]
	if !ok || r.closed {
		return
	}
	if time.Since(r.leaving[n.Name]) < farewellFor {
		r.gone(n.Name, m)
		return
	}
	m.doubted = true
	poke(r.doubt)
}

// NotifyUpdate implements memberlist.EventDelegate.
func (r *roster) NotifyUpdate(n *memberlist.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && n.Name != r.self {
		r.note(n)
		poke(r.wake)
	}
}

// mostGone is how many may be remembered that are gone. A cluster whose nodes come
// and go under new names makes ever more of them.
const mostGone = 2000

// note takes down what a member tells of itself. Of those that are gone, too many
// are forgotten, whichever they are: their links count as a stranger's then.
func (r *roster) note(n *memberlist.Node) {
	r.metas[n.Name] = bytes.Clone(n.Meta)
	if len(r.metas) <= len(r.members)+mostGone+1 {
		return
	}
	for name := range r.metas {
		if _, here := r.members[name]; !here && name != n.Name {
			delete(r.metas, name)
			if len(r.metas) <= len(r.members)+mostGone+1 {
				return
			}
		}
	}
}

func (r *roster) said() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.metas)
}

func (r *roster) gone(name string, m *member) {
	r.say(left, name, m.addr)
	r.remove(name)
}

func (r *roster) remove(name string) {
	delete(r.members, name)
	delete(r.leaving, name)
	poke(r.wake)
}

// takeDoubted returns the members that are said to be dead and that nobody asks yet,
// and counts them as asked.
func (r *roster) takeDoubted() map[string]netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]netip.AddrPort)
	for name, m := range r.members {
		if m.doubted && !m.asked {
			m.asked = true
			out[name] = m.addr
		}
	}
	return out
}

func (r *roster) isDoubted(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[name]
	return ok && m.doubted
}

// settle ends the asking: the member is dead unless it has contradicted.
func (r *roster) settle(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[name]
	if !ok || r.closed {
		return
	}
	m.asked = false
	if !m.doubted {
		return
	}
	r.deaths++
	r.lost[name] = m.addr
	r.say(failed, name, m.addr)
	r.remove(name)
}

// A farewell is the only message that speakers send each other beside
// memberlist's own.
const farewellTag = "farewell "

func farewell(name string) []byte { return []byte(farewellTag + name) }

// NotifyMsg implements memberlist.Delegate.
func (r *roster) NotifyMsg(b []byte) {
	name, ok := strings.CutPrefix(string(b), farewellTag)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[name]
	switch {
	case !ok || r.closed:
	case m.doubted:
		r.gone(name, m)
	default:
		r.leaving[name] = time.Now()
	}
}

// NodeMeta implements memberlist.Delegate.
func (r *roster) NodeMeta(limit int) []byte {
	if r.meta == nil {
		return nil
	}
	b := r.meta()
	return b[:min(len(b), limit)]
}

// The rest of memberlist.Delegate: there is nothing to add to its messages.

func (r *roster) GetBroadcasts(_, _ int) [][]byte { return nil }
func (r *roster) LocalState(bool) []byte          { return nil }
func (r *roster) MergeRemoteState([]byte, bool)   {}

func addrOf(n *memberlist.Node) netip.AddrPort {
	a, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(a.Unmap(), n.Port)
}
