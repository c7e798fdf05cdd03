package l2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// face is what a link looks like from outside.
type face struct {
	index   int
	mac     mac
	up      bool // administratively: it can have sockets
	carrier bool
}

func look(name string) (face, *net.Interface, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return face{}, nil, fmt.Errorf("link %s: %w", name, err)
	}
	if len(ifi.HardwareAddr) != len(mac{}) {
		return face{}, nil, fmt.Errorf("link %s: has no Ethernet address", name)
	}
	return face{
		index:   ifi.Index,
		mac:     mac(ifi.HardwareAddr),
		up:      ifi.Flags&net.FlagUp != 0,
		carrier: ifi.Flags&net.FlagRunning != 0,
	}, ifi, nil
}

// sighting is another interface that was seen to use an address of ours.
type sighting struct {
	link string
	addr netip.Addr
	mac  mac
}

// link answers and announces on one interface. Run's goroutine owns it; the
// readers and the sender have what is behind mu and the atomics.
type link struct {
	name string
	ifi  *net.Interface
	face face
	log  *slog.Logger

	counters *counters
	seen     chan<- sighting
	wentDown func()      // asks for a refresh
	flapped  atomic.Bool // it was down since it was opened
	stop     func()      // ends the sender
	tasks    sync.WaitGroup
	sender   *sender
	groups   groups
	table    atomic.Pointer[table]

	mu       sync.Mutex // held over each frame that is sent unasked
	arp, ndp *conn      // nil while there is no address of the family
	source   netip.Addr // of IPv6 probes; unspecified: the link has no IPv6 address
}

func openLink(name string, ifi *net.Interface, f face, a *Announcer) *link {
	ctx, stop := context.WithCancel(context.Background())
	l := &link{
		name:     name,
		ifi:      ifi,
		face:     f,
		log:      a.log,
		counters: a.stats.of(name),
		seen:     a.seen,
		stop:     stop,
		groups:   groups{index: f.index},
	}
	l.wentDown = func() {
		l.flapped.Store(true)
		a.LinksChanged()
	}
	l.sender = newSender(a.rate)
	l.findSource(ifi)
	l.table.Store(newTable(f.mac, nil, &table{}))
	l.tasks.Go(func() { l.sender.run(ctx) })
	return l
}

// changed tells whether the link was replaced, or regained its carrier, since it
// was looked at.
func (l *link) changed(f face) bool {
	return f.index != l.face.index || f.mac != l.face.mac || (f.carrier && !l.face.carrier)
}

// findSource finds the source of IPv6 probes anew: a link's addresses come later
// than the link.
func (l *link) findSource(ifi *net.Interface) {
	t := l.table.Load()
	source := ownIPv6(ifi, func(a netip.Addr) bool { return t != nil && t.has(a) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.source = source
}

// swap makes the addresses what is answered for, and returns those that were not
// before. Once it has returned, no frame leaves for any other unasked.
func (l *link) swap(addrs []netip.Addr) (added []netip.Addr) {
	before := l.table.Load()
	t := newTable(l.face.mac, addrs, before)
	removed := t.lacking(before.addrs())
	added = before.lacking(addrs)
	if len(added)+len(removed) == 0 {
		return nil
	}
	l.mu.Lock()
	l.table.Store(t)
	l.mu.Unlock()
	l.sender.forget(removed)
	return added
}

// sync makes sockets, filters and groups fit the table. After an error it has
// done what it could; call it again.
func (l *link) sync() error {
	t := l.table.Load()
	errs := []error{
		l.open(&l.arp, len(t.v4) > 0, unix.ETH_P_ARP, &responder{link: l, family: &l.counters.arp, answer: answerARP}),
		l.open(&l.ndp, len(t.v6) > 0, unix.ETH_P_IPV6, &responder{link: l, family: &l.counters.ndp, answer: answerNDP}),
	}
	if l.arp != nil {
		errs = append(errs, l.arp.attach(t, arpFilter))
	}
	if l.ndp != nil {
		errs = append(errs, l.ndp.attach(t, ndpFilter), l.groups.set(t.v6))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("link %s: %w", l.name, err)
	}
	return nil
}

// open opens a socket where one is needed and missing.
func (l *link) open(c **conn, needed bool, protocol int, r *responder) error {
	if *c != nil || !needed {
		return nil
	}
	opened, err := listen(l.ifi, protocol)
	if opened == nil {
		return err
	}
	l.mu.Lock()
	*c = opened
	l.mu.Unlock()
	l.tasks.Go(func() { opened.serve(r, l.wentDown) })
	return err
}

// burst starts to announce addresses, all that are in the table if none is
// named.
func (l *link) burst(addrs []netip.Addr) {
	l.sender.burst(addrs, l.announce, l.probe)
}

// announce sends the announcement of an address, if it is still claimed.
func (l *link) announce(a netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, f := l.of(a)
	frame := l.table.Load().frame(a)
	if c == nil || frame == nil {
		return nil
	}
	return f.sent(&f.announcements, c.send(frame))
}

// probe asks who else answers for an address.
func (l *link) probe(a netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, f := l.of(a)
	if c == nil || !l.table.Load().has(a) {
		return nil
	}
	frame := probeARP(l.face.mac, a)
	if !a.Is4() {
		frame = probeNDP(l.face.mac, l.source, a)
	}
	return f.sent(&f.probes, c.send(frame))
}

func (l *link) of(a netip.Addr) (*conn, *family) {
	if a.Is4() {
		return l.arp, &l.counters.arp
	}
	return l.ndp, &l.counters.ndp
}

// sighted reports a rival. Under a flood of them most are lost: the address that
// is contested is known by then.
func (l *link) sighted(s sighting) {
	select {
	case l.seen <- s:
	default:
	}
}

// close stops all that the link does. Its addresses are not answered for any
// more once it has returned.
func (l *link) close() {
	l.stop()
	l.countDrops()
	for _, c := range []*conn{l.arp, l.ndp} {
		if c != nil {
			c.close()
		}
	}
	l.tasks.Wait()
	l.groups.close()
}

// countDrops takes over what the kernel has counted.
func (l *link) countDrops() {
	if l.arp != nil {
		l.counters.arp.dropped.Add(l.arp.drops())
	}
	if l.ndp != nil {
		l.counters.ndp.dropped.Add(l.ndp.drops())
	}
}
