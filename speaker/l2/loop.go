package l2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/speaker/plan"
)

const (
	// tickEvery is how often conflicts and unfinished work are looked at.
	tickEvery = 500 * time.Millisecond
	// lookEvery is how often links are looked at that nobody said changed.
	lookEvery = 5 * time.Second
	// boundEvery is how often it is looked for claimed addresses that are bound.
	boundEvery = 30 * time.Second
)

// loop is what the goroutine of Run owns.
type loop struct {
	*Announcer
	want   map[string][]netip.Addr // by link; every link has an address
	links  map[string]*link
	broken map[string]error // links that lack something; tried again
	rivals rivals
	rounds map[string]*patrol // by link
	bound  map[netip.Addr]string
	looked time.Time
	boundT time.Time
}

func newLoop(a *Announcer) *loop {
	return &loop{Announcer: a, links: map[string]*link{}, broken: map[string]error{}, rounds: map[string]*patrol{}}
}

func (lo *loop) run(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	defer lo.closeAll()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-lo.requests:
			r.result <- lo.apply(r.table.Claims)
		case <-lo.pokes.wake:
			lo.poked(lo.pokes.take())
		case s := <-lo.seen:
			lo.saw(s)
		case <-tick.C:
			lo.tick(time.Now())
		}
		lo.publish()
	}
}

func (lo *loop) closeAll() {
	for name, l := range lo.links {
		l.close()
		delete(lo.links, name)
	}
	lo.want = nil
	lo.publish()
}

// apply withdraws first, on all links, as that is quick and another node may
// wait for it.
func (lo *loop) apply(claims []plan.Claim) error {
	want, err := byLink(claims)
	errs := []error{err}
	known := slices.Collect(maps.Keys(lo.want))
	lo.want = want
	added := map[string][]netip.Addr{}
	for name, l := range lo.links {
		added[name] = l.swap(want[name])
	}
	lo.handle(lo.rivals.forget(lo.serves))
	for name := range want {
		errs = append(errs, lo.serve(name, added[name]))
	}
	for _, name := range known {
		if _, ok := want[name]; !ok {
			lo.shut(name)
		}
	}
	lo.checkBound(time.Now())
	return errors.Join(errs...)
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// byLink turns claims into the addresses of each link.
func byLink(claims []plan.Claim) (map[string][]netip.Addr, error) {
	out := map[string][]netip.Addr{}
	var errs []error
	for _, c := range claims {
		a := c.Addr.Unmap()
		if !a.IsValid() || a.IsMulticast() || a.IsUnspecified() || a == limitedBroadcast {
			errs = append(errs, fmt.Errorf("l2: claim of %v: not an address of a single host", c.Addr))
			continue
		}
		for _, name := range c.Links {
			out[name] = append(out[name], a)
		}
	}
	return out, errors.Join(errs...)
}

// serves tells whether an address is answered for on a link.
func (lo *loop) serves(p place) bool {
	l := lo.links[p.link]
	return l != nil && l.table.Load().has(p.addr)
}

// serve makes a link do what is wanted of it, and announces what is new there.
func (lo *loop) serve(name string, added []netip.Addr) error {
	l := lo.links[name]
	if l == nil {
		return lo.open(name)
	}
	err := l.sync()
	lo.note(name, err)
	l.burst(added)
	return err
}

// open opens a link that is up, and announces all that is claimed there. One
// that is down is no error: it will be opened when it is up.
func (lo *loop) open(name string) error {
	f, ifi, err := look(name)
	if err != nil || !f.up {
		lo.note(name, err)
		return err
	}
	l := openLink(name, ifi, f, lo.Announcer)
	lo.links[name] = l
	added := l.swap(lo.want[name])
	err = l.sync()
	lo.note(name, err)
	l.burst(added)
	return err
}

func (lo *loop) shut(name string) {
	if l := lo.links[name]; l != nil {
		l.close()
		delete(lo.links, name)
	}
	delete(lo.broken, name)
}

// note keeps what is wrong with a link, and logs it when that changes.
func (lo *loop) note(name string, err error) {
	before := lo.broken[name]
	if err == nil {
		delete(lo.broken, name)
		if before != nil {
			lo.log.Info("layer 2 link works again", "link", name)
		}
		return
	}
	lo.broken[name] = err
	if before == nil || before.Error() != err.Error() {
		lo.log.Warn("layer 2 link lacks something", "link", name, "error", err)
	}
}

func (lo *loop) poked(p poked) {
	if p.look {
		lo.refresh(p.links)
	}
	if p.reason == "" {
		return
	}
	lo.log.Info("all layer 2 addresses announced again", "reason", p.reason)
	for name, l := range lo.links {
		l.burst(lo.want[name])
	}
}

// refresh compares the links with what they look like now. Those told of are
// announced on again even if they look the same: they may have been down for a
// moment.
func (lo *loop) refresh(told map[string]struct{}) {
	lo.looked = time.Now()
	for name := range lo.want {
		_, again := told[name]
		lo.refreshLink(name, again)
	}
}

func (lo *loop) refreshLink(name string, again bool) {
	l := lo.links[name]
	if l == nil {
		_ = lo.open(name) // it notes the error
		return
	}
	f, ifi, err := look(name)
	switch {
	case err != nil || !f.up:
		lo.log.Info("layer 2 link is down", "link", name)
		lo.shut(name)
		lo.note(name, err)
	case l.flapped.Load() || l.changed(f):
		// Sockets and groups do not survive all that can happen to a link, and a
		// switch port that was down has forgotten the groups.
		lo.log.Info("layer 2 link is back", "link", name)
		l.close()
		delete(lo.links, name)
		_ = lo.open(name)
	default:
		l.face = f
		l.findSource(ifi)
		if again {
			lo.log.Info("layer 2 link announced on again", "link", name)
			l.burst(lo.want[name])
		}
	}
}

func (lo *loop) tick(now time.Time) {
	if now.Sub(lo.looked) >= lookEvery {
		lo.refresh(nil)
	}
	for name := range lo.broken {
		if _, ok := lo.want[name]; ok {
			_ = lo.serve(name, nil)
		}
	}
	for name, l := range lo.links {
		l.countDrops()
		lo.patrolOn(now, name, l)
	}
	lo.handle(lo.rivals.tick(now))
	if now.Sub(lo.boundT) >= boundEvery {
		lo.checkBound(now)
	}
}

func (lo *loop) patrolOn(now time.Time, name string, l *link) {
	p := lo.rounds[name]
	if p == nil {
		p = &patrol{every: patrolEvery}
		lo.rounds[name] = p
	}
	l.sender.once(p.turn(now, lo.want[name]), l.probe)
}

// publish updates what Stats tells.
func (lo *loop) publish() {
	for _, s := range lo.stats.list() {
		state := LinkStats{Link: s.Link}
		if l := lo.links[s.Link]; l != nil {
			state.Up, state.Addresses = l.face.carrier, len(lo.want[s.Link])
			state.Rivals = lo.rivals.on(s.Link)
		}
		if err := lo.broken[s.Link]; err != nil {
			state.Error = err.Error()
		}
		lo.stats.set(state)
	}
}
