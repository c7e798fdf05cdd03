// Package members tells which nodes are alive, by gossip among the speakers. It
// needs no API server: what one speaker knows of a death, all know a moment
// later.
//
// A death is reported when three things agree: the probes of one speaker, the
// suspicion of a second one (where there is one), and a last question of our own
// that went unanswered. So a speaker that gets no CPU for a while neither loses
// its place nor costs others theirs.
package members

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// DefaultPort is the port that memberlist's users know, UDP and TCP.
const DefaultPort = 7946

// KeySize is the size of the key that all speakers share: AES-256.
const KeySize = 32

// MetaSize is what fits into a message about a member.
const MetaSize = memberlist.MetaMaxSize

// Options say who we are and how the others are found.
type Options struct {
	Node      string                  // required; name of this node
	Bind      netip.AddrPort          // required; may be unspecified, such as [::]:7946
	Advertise netip.AddrPort          // zero: Bind; required where Bind is unspecified
	Key       []byte                  // KeySize bytes; nil only with Insecure
	Accept    [][]byte                // further keys that are understood, while keys are exchanged
	Insecure  bool                    // neither encrypt nor authenticate
	Peers     func() []netip.AddrPort // the nodes as far as known, ours and other families are passed over; nil: wait to be joined
	Meta      func() []byte           // what the others shall know of us; cut after MetaSize bytes; nil: nothing
	Log       *slog.Logger            // nil: discard
	Timings   Timings                 // zero: for a rack
}

// Members is one speaker's part in the gossip.
type Members struct {
	o      Options
	log    *slog.Logger
	roster *roster
	bridge *bridge
	leave  chan struct{} // closed by the first Leave
	once   sync.Once
	joins  joinLog

	life sync.Mutex                            // no Leave after a Shutdown: memberlist would panic
	list atomic.Pointer[memberlist.Memberlist] // nil: not running
}

// New checks the options. It opens no socket: Run does.
func New(o Options) (*Members, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if !o.Advertise.IsValid() {
		o.Advertise = o.Bind
	}
	o.Timings = o.Timings.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("members: %w", err)
	}
	return &Members{
		o:      o,
		log:    o.Log,
		roster: newRoster(o.Node, o.Meta),
		bridge: newBridge(o.Log),
		leave:  make(chan struct{}),
		joins:  joinLog{said: make(map[netip.AddrPort]said)},
	}, nil
}

func (o Options) check() error {
	switch {
	case o.Node == "":
		return errors.New("no node name")
	case !o.Bind.IsValid():
		return errors.New("no address to bind to")
	case o.Advertise.Addr().IsUnspecified():
		return fmt.Errorf("bound to %v: needs an address to advertise", o.Bind.Addr())
	case len(o.Key) == 0 && !o.Insecure:
		return fmt.Errorf("no key: gossip decides who owns addresses, so it is encrypted with %d bytes from a Secret", KeySize)
	case len(o.Key) == 0 && len(o.Accept) > 0:
		return errors.New("further keys need a first one")
	case len(o.Key) == 0:
		return nil
	}
	for _, k := range append([][]byte{o.Key}, o.Accept...) {
		if len(k) != KeySize {
			return fmt.Errorf("key has %d bytes, not %d", len(k), KeySize)
		}
	}
	return nil
}

// Alive returns the nodes that are alive, each true. This node is among them to
// the very end: while it leaves, it still answers for what the others take over.
func (m *Members) Alive() map[string]bool { return m.roster.alive() }

// Wake is poked whenever Alive changes.
func (m *Members) Wake() <-chan struct{} { return m.roster.wake }

// Metas returns what each other node has told of itself, also those that are
// gone: what they still do on the network is theirs.
func (m *Members) Metas() map[string][]byte { return m.roster.said() }

// MetaChanged tells the others what Options.Meta returns now. It waits until
// that was sent, at most for the timeout. Before Run there is nobody to tell.
func (m *Members) MetaChanged(timeout time.Duration) error {
	list := m.list.Load()
	if list == nil {
		return nil
	}
	if err := list.UpdateNode(timeout); err != nil {
		return fmt.Errorf("members: tell the others of a change: %w", err)
	}
	return nil
}

// Leave tells the others at once that this node goes, and ends Run. It waits
// until that was sent, at most for the timeout.
func (m *Members) Leave(timeout time.Duration) error {
	defer m.once.Do(func() { close(m.leave) })
	m.life.Lock()
	defer m.life.Unlock()
	list := m.list.Load()
	if list == nil {
		return nil
	}
	m.farewell(list)
	if err := list.Leave(timeout); err != nil {
		return fmt.Errorf("members: leave: %w", err)
	}
	return nil
}

// farewell tells each member directly that the death notice which follows is our
// own will. Without it they would ask us whether we are alive, and we still are.
func (m *Members) farewell(list *memberlist.Memberlist) {
	for _, n := range list.Members() {
		if n.Name == m.o.Node {
			continue
		}
		if addr, ok := m.roster.addr(n.Name); ok {
			_ = list.SendToAddress(memberlist.Address{Addr: addr.String(), Name: n.Name}, farewell(m.o.Node))
		}
	}
}
