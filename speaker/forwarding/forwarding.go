// Package forwarding finds out whether this node forwards what comes for an
// address: whether kube-proxy has its rules. A node that announces before that
// loses what comes meanwhile, and for longer than the moment itself, since
// conntrack remembers a flow that found no rule.
//
// For a Service with externalTrafficPolicy Local kube-proxy answers on the
// Service's healthCheckNodePort, once it has written its rules, with 200 if the
// node has ready endpoints (KEP-3836 adds how many). For others only the whole
// of kube-proxy can be asked: its healthz, and from its metrics whether it has
// written all that it was told.
//
// What has begun to be forwarded may end, too: a kube-proxy that dies leaves its
// rules in the kernel, and they lead to pods that are gone (outdated.go).
package forwarding

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// The times of the probing.
const (
	// fastEvery is how often the first in line is asked while it has waited for less
	// than fastFor. kube-proxy writes for all at once, so that one opens when all do: the
	// others are asked then. Refused, or answered, that costs some 100 µs.
	fastEvery = 7 * time.Millisecond
	fastFor   = 3 * time.Second
	// roundEvery is how often any other is asked at first. Where many wait it is less
	// often: 1,000 in a second are asked at most, and mostAtOnce in a round.
	roundEvery = 50 * time.Millisecond
	mostAtOnce = 64
	// soonFor is as calmFor, for a kube-proxy that has heard of something since: it does
	// not lag.
	soonFor = 50 * time.Millisecond
	// calmFor is how long kube-proxy gets to hear of what we have heard of.
	calmFor = 250 * time.Millisecond
	// blindFor is the same where its metrics do not tell whether it is done: by
	// default it writes rules at most once a second.
	blindFor = 1200 * time.Millisecond
	// ownFor is how long a Service's own port may refuse us before the whole of
	// kube-proxy is asked instead: it may serve these ports on other addresses only
	// (--nodeport-addresses).
	ownFor = 5 * time.Second
	// absentAfter is when a kube-proxy that has never answered counts as absent: it
	// may be started long after this process, when a node boots.
	absentAfter = 60 * time.Second
	// settledFor is how long after a node's boot, and after it has joined the cluster,
	// kube-proxy has had its chance. If its healthz refuses us then, there is none, or it
	// is dead and its rules are there: we wait absentSoon. That is less than the first
	// table may wait, so that a router that kept our routes goes on keeping them.
	settledFor = 5 * time.Minute
	absentSoon = 1500 * time.Millisecond
	// refreshEvery is how often an open target is asked for its weight.
	refreshEvery = 30 * time.Second
	slowest      = time.Second
)

// Key names what is forwarded or not: kube-proxy has rules of its own for each
// family.
type Key struct {
	Service string // namespace/name
	Family  cluster.Family
}

// Target is what this node would announce.
type Target struct {
	Key
	// Health is where the Service's healthCheckNodePort answers on this node.
	// Invalid: it has none.
	Health netip.AddrPort
	// Addr is what would be announced. With another one the Service has to be found
	// forwarded anew.
	Addr netip.Addr
	// Endpoints are those of the Service. Nobody changes them.
	Endpoints []cluster.Endpoint
	// Local: only those on this node count, which it names. Empty: all do.
	Local string
}

// Options of a Prober.
type Options struct {
	Healthz string // kube-proxy's, a URL; required
	Metrics string // kube-proxy's, a URL; empty: not asked
	// Able asks the speaker at an address whether kube-proxy on its node is well. nil:
	// nobody is asked, and all are taken to be.
	Able   func(ctx context.Context, at netip.Addr) bool
	Booted time.Time // when this node's kernel was; the zero time: not known
	Log    *slog.Logger
}

// Prober asks kube-proxy about the targets that it is given.
type Prober struct {
	o       Options
	log     *slog.Logger
	client  client
	wake    chan struct{} // an answer has changed
	more    chan struct{} // the targets have changed
	started time.Time
	pending time.Time // when kube-proxy was last seen to have changes that it had not taken up; Run's own

	mu      sync.Mutex
	targets map[Key]*target
	waiting map[Key]*target // those that are not open
	again   time.Time       // when the open ones are looked through next
	known   map[Key]bool    // open in an earlier life on the same boot
	begun   bool            // there has been a Want
	off     bool
	joined  time.Time // when the node joined the cluster; the zero time: not known
	ported  bool      // the port of some Service has answered at some time
	absent  bool      // kube-proxy's healthz never has, and it is not waited for any more
	health  health    // of kube-proxy's healthz alone: others may serve the ports of Services
	others  others
}

type target struct {
	Target
	since  time.Time // wanted since
	next   time.Time // asked again
	every  time.Duration
	shut   bool // its own port has not said 200 at some time since there is the address
	open   bool
	kept   bool   // it was in an earlier life
	why    string // not open
	weight int    // as KEP-3836 says; -1: not told
	warned bool
	rules
}

// New checks the options. It starts nothing.
func New(o Options) (*Prober, error) {
	if o.Healthz == "" {
		return nil, errors.New("forwarding: Healthz is required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Prober{
		o: o, log: o.Log, client: newClient(),
		wake: make(chan struct{}, 1), more: make(chan struct{}, 1), started: time.Now(),
		targets: map[Key]*target{}, waiting: map[Key]*target{}, known: map[Key]bool{},
	}, nil
}

// Know says what was forwarded already in this process's earlier life. It is
// right only if the node was not rebooted since: the rules are the kernel's, and
// outlive kube-proxy and this process.
func (p *Prober) Know(keys []Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range keys {
		p.known[k] = true
	}
}

// Joined says when the node joined the cluster.
func (p *Prober) Joined(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.joined = at
}

// Want makes the targets those given, and all of them forwarded if off. What is
// wanted anew has to be found open anew: the first endpoint of a node is known
// here before kube-proxy has written it down.
func (p *Prober) Want(targets []Target, off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	want := make(map[Key]bool, len(targets))
	for _, t := range targets {
		want[t.Key] = true
		if old := p.targets[t.Key]; old != nil && old.Health == t.Health && old.Addr == t.Addr {
			old.update(t, now)
			continue
		}
		x := &target{
			// What there is when we begin was there before us: its port's word is of the address.
			Target: t, since: now, shut: !p.begun, open: p.known[t.Key], kept: p.known[t.Key], weight: -1, why: "kube-proxy has not answered yet",
			rules: rules{written: t.backends()},
		}
		p.targets[t.Key] = x
		delete(p.waiting, t.Key)
		if !x.open {
			p.waiting[t.Key] = x
		}
		delete(p.known, t.Key)
		poke(p.more)
	}
	maps.DeleteFunc(p.targets, func(k Key, _ *target) bool { return !want[k] })
	maps.DeleteFunc(p.waiting, func(k Key, _ *target) bool { return !want[k] })
	p.off, p.begun = off, true
}

// Answer is what is known of one target.
type Answer struct {
	OK   bool // it is forwarded
	Kept bool // it was, before this process began
	// Outdated: the rules by which it is forwarded lead to endpoints that are gone, and
	// nobody writes newer ones.
	Outdated bool
	Why      string // not OK, or Outdated
}

// Forwarding tells whether a target is forwarded. What is no target is taken to
// be.
func (p *Prober) Forwarding(k Key) Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[k]
	switch {
	case p.off || t == nil:
		return Answer{OK: true}
	case t.open:
		return Answer{OK: true, Kept: t.kept, Outdated: t.outdated != "", Why: t.outdated}
	default:
		return Answer{Why: t.why}
	}
}

// Settled tells whether every target is forwarded.
func (p *Prober) Settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.off || len(p.waiting) == 0
}

// State is what is known, for /state and metrics.
type State struct {
	Open    int
	Pending map[string]string // service and family, to why
	Absent  bool              // kube-proxy's healthz has never answered, so nothing waits for it
	Weights map[string]int    // service and family, to kube-proxy's count of its endpoints here
	// Outdated are those whose rules lead to endpoints that are gone, to why nobody
	// writes newer ones.
	Outdated map[string]string
	// Down: kube-proxy has answered before, and does not any more.
	Down bool
	// Heard is when kube-proxy's healthz answered last; the zero time: never.
	Heard time.Time
}

// State returns a copy.
func (p *Prober) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := State{
		Absent: p.absent, Pending: map[string]string{}, Weights: map[string]int{}, Outdated: map[string]string{},
		Down: p.health.down(time.Now()), Heard: p.health.last,
	}
	for k, t := range p.targets {
		name := k.String()
		if t.open {
			s.Open++
		} else {
			s.Pending[name] = t.why
		}
		if t.open && t.outdated != "" {
			s.Outdated[name] = t.outdated
		}
		if t.weight >= 0 {
			s.Weights[name] = t.weight
		}
	}
	return s
}

// Open are the targets that are forwarded, for Know in a later life.
func (p *Prober) Open() []Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Key
	for k, t := range p.targets {
		if t.open {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Family, b.Family))
	})
	return out
}

// Wake has an element whenever an answer of Forwarding may have changed.
func (p *Prober) Wake() <-chan struct{} { return p.wake }

// Run asks until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.more:
		case <-timer.C:
		}
		timer.Reset(p.round(ctx))
	}
}

// round asks about all that is due, and returns when to do so again.
func (p *Prober) round(ctx context.Context) time.Duration {
	begun := time.Now()
	due, whole := p.due(begun)
	news := false
	if len(due) > 0 || whole != nothing {
		answers, proxy := p.ask(ctx, due, whole)
		news = p.note(due, answers, time.Now())
		if whole != nothing {
			news = p.check(proxy, begun) || news
		}
	}
	p.askOthers(ctx)
	return p.next(time.Now(), news)
}

// next is when to ask again. After news of what kube-proxy has written all that
// wait are asked at once.
func (p *Prober) next(now time.Time, news bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off || len(p.waiting) == 0 {
		return slowest
	}
	every := roundEvery
	for _, t := range p.waiting {
		if news {
			t.next = now
		}
		if now.Sub(t.since) < fastFor {
			every = fastEvery
		}
	}
	if news {
		return 0
	}
	return every
}

// due are the targets to ask about, and what of the whole of kube-proxy has to be
// asked.
func (p *Prober) due(now time.Time) (due []Target, whole depth) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return nil, nothing
	}
	if len(p.targets) > 0 && now.Sub(p.health.asked) >= healthEvery {
		whole = life
	}
	first, last := p.fastest(now)
	for _, t := range p.waiting {
		late := !now.Before(t.next) && len(due) < mostAtOnce
		if late || t == first || t == last {
			due = append(due, t.Target)
		}
		switch {
		case late && (!t.Health.IsValid() || !t.shut || now.Sub(t.since) >= ownFor):
			whole = work
		case !t.Health.IsValid() && now.Sub(t.since) < fastFor:
			whole = max(whole, life)
		}
	}
	if now.Before(p.again) {
		return due, whole
	}
	p.again = now.Add(slowest)
	for _, t := range p.targets {
		// An open target without a port of its own has nothing more to tell.
		if t.open && t.Health.IsValid() && !now.Before(t.next) && len(due) < 8*mostAtOnce {
			due = append(due, t.Target)
		}
		if whole == life && !t.unwritten.IsZero() {
			whole = work
		}
	}
	return due, whole
}

// fastest are two of the targets that have a port of their own and have not waited
// for long. The one that waits longest may wait for something else than kube-proxy.
func (p *Prober) fastest(now time.Time) (first, last *target) {
	for _, t := range p.waiting {
		if !t.Health.IsValid() || now.Sub(t.since) >= fastFor {
			continue
		}
		if first == nil || t.since.Before(first.since) {
			first = t
		}
		if last == nil || t.since.After(last.since) {
			last = t
		}
	}
	return first, last
}

// note takes the answers down, and tells whether some target has opened.
func (p *Prober) note(asked []Target, answers map[Key]answer, now time.Time) (opened bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range answers {
		p.ported = p.ported || a.own && a.err == nil
		if a.proxy.heard {
			p.health.last = now
		}
	}
	if absent := p.noProxy(now); absent != p.absent {
		p.absent = absent
		if absent {
			p.log.Warn("no kube-proxy has answered: nothing waits for it", "healthz", p.o.Healthz)
		}
	}
	for _, x := range asked {
		t := p.targets[x.Key]
		if t == nil || t.Health != x.Health || t.Addr != x.Addr {
			continue // wanted no more, or otherwise
		}
		if t.take(answers[x.Key], p.missed(t, now), len(p.waiting), now) {
			delete(p.waiting, x.Key)
			opened = true
		}
		if waited := now.Sub(t.since); !t.open && !t.warned && waited > 10*time.Second {
			t.warned = true
			p.log.Warn("service not forwarded by kube-proxy", "service", t.Service, "family", t.Family, "reason", t.why, "after", waited.Round(time.Second))
		}
	}
	if opened {
		poke(p.wake)
	}
	return opened
}

// noProxy tells whether kube-proxy's healthz has never answered, and is not waited
// for any more.
func (p *Prober) noProxy(now time.Time) bool {
	waited := now.Sub(p.started)
	settled := !p.joined.IsZero() && !p.o.Booted.IsZero() && now.Sub(p.joined) > settledFor && now.Sub(p.o.Booted) > settledFor
	return p.health.last.IsZero() && (waited > absentAfter || settled && waited > absentSoon)
}

// missed tells whether nobody is there to answer for a target. The ports of
// Services may be served without a kube-proxy, by what replaces it; they say nothing
// of Services that have none.
func (p *Prober) missed(t *target, now time.Time) bool {
	if !t.Health.IsValid() {
		return p.absent
	}
	waited := now.Sub(p.started)
	if p.ported {
		waited = now.Sub(t.since)
	}
	return p.absent && waited > absentAfter
}

// take notes an answer and tells whether the target has opened. An open one
// stays open: what closes it is an endpoint that goes, and the API tells that. If
// nobody is there who could answer, it opens as well.
func (t *target) take(a answer, missed bool, waiting int, now time.Time) (opened bool) {
	if a.weight >= 0 {
		t.weight = a.weight
	}
	if t.open {
		t.next = now.Add(refreshEvery)
		return false
	}
	ok, why := a.forwards(t, now)
	t.shut = t.shut || a.own && (a.err != nil || a.status != http.StatusOK)
	ok = ok || missed && !a.heard()
	t.open, t.why = ok, why
	if ok {
		t.next = now.Add(refreshEvery)
		return true
	}
	// The first seconds matter; a pod that takes minutes is asked once a second.
	t.every = min(max(roundEvery, time.Duration(waiting)*time.Millisecond, t.every+t.every/4), slowest)
	t.next = now.Add(t.every)
	return false
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// String is service and family.
func (k Key) String() string { return k.Service + " " + string(k.Family) }
