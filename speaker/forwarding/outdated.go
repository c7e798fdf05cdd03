package forwarding

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// kube-proxy's rules are the kernel's. When kube-proxy dies they stay, and as long
// as no endpoint goes they are right: a kube-proxy that is restarted must cost
// nothing. But where an endpoint goes meanwhile, its share of the connections is
// lost, for as long as nobody writes newer rules.
const (
	// downAfter is how long a kube-proxy that answered before may be silent: it is
	// restarted in less.
	downAfter = 5 * time.Second
	// stuckAfter is how long one that answers may take to write. With 10,000 Services
	// in iptables it takes some seconds.
	stuckAfter = 30 * time.Second
	// healthEvery is how often kube-proxy is asked whether it is alive.
	healthEvery = time.Second

	othersEvery = 5 * time.Second
	// ableFor is how long another node's word counts: its speaker may be restarted.
	ableFor = 30 * time.Second
	// MostOthers bounds how many other speakers are asked.
	MostOthers = 32
)

// rules are what kube-proxy has written for a target.
type rules struct {
	written []netip.Addr // endpoints that were in the rules when they were last known to be written

	unwritten time.Time // since when there should be others; the zero time: they are as they should be
	changed   time.Time // when that changed last
	outdated  string    // why written is wrong, and stays so; empty: it is not, or not for long
}

// backends are the endpoints that kube-proxy sends to when it knows all that we do:
// those that are ready, or if there is none, those that serve while they terminate
// (KEP-1669).
func (t Target) backends() []netip.Addr {
	var ready, serving []netip.Addr
	for _, e := range t.Endpoints {
		switch {
		case cluster.FamilyOf(e.Addr) != t.Family || t.Local != "" && e.Node != t.Local:
		case e.Ready:
			ready = append(ready, e.Addr)
		case e.Serving && e.Terminating:
			serving = append(serving, e.Addr)
		}
	}
	if len(ready) == 0 {
		ready = serving
	}
	slices.SortFunc(ready, netip.Addr.Compare)
	return ready
}

// update takes down what kube-proxy should write.
func (t *target) update(now Target, at time.Time) {
	same := len(t.Endpoints) == len(now.Endpoints) && (len(now.Endpoints) == 0 || &t.Endpoints[0] == &now.Endpoints[0])
	if same && t.Local == now.Local {
		return // the Service is not changed: there are many of these
	}
	before := t.backends()
	t.Target = now
	switch is := t.backends(); {
	case slices.Equal(before, is):
	case !t.open:
		t.written = is // taken for written when kube-proxy opens it
	default:
		t.changed = at
		if t.unwritten.IsZero() {
			t.unwritten = at
		}
	}
}

// settle says that the rules are as they should be.
func (r *rules) settle(is []netip.Addr) { *r = rules{written: is} }

// gone are the endpoints in the rules that should not be there any more.
func (t *target) gone() []netip.Addr {
	is := t.backends()
	var out []netip.Addr
	for _, a := range t.written {
		if _, there := slices.BinarySearchFunc(is, a, netip.Addr.Compare); !there {
			out = append(out, a)
		}
	}
	return out
}

// health is whether kube-proxy is alive.
type health struct {
	last    time.Time // it answered; the zero time: it never did
	asked   time.Time
	updated time.Time // when it has written last, as it said
}

func (h health) down(now time.Time) bool { return !h.last.IsZero() && now.Sub(h.last) > downAfter }

// check takes down what the whole of kube-proxy says, asked at that time, and finds
// the targets whose rules are outdated. It tells whether kube-proxy has written
// since.
func (p *Prober) check(is proxy, asked time.Time) (wrote bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wasDown := p.health.down(asked)
	p.health.asked = asked
	if is.heard {
		p.health.last = asked
	}
	wrote = is.updated.After(p.health.updated)
	p.health.updated = is.updated
	down := p.health.down(asked)
	switch {
	case down && !wasDown:
		p.log.Warn("kube-proxy does not answer any more: its rules stay as they are", "healthz", p.o.Healthz)
	case !down && wasDown:
		p.log.Info("kube-proxy answers again")
	}
	changed := false
	for _, t := range p.targets {
		if t.unwritten.IsZero() {
			continue
		}
		before := t.outdated
		t.judge(is, down, p.health.last, asked)
		changed = changed || (before == "") != (t.outdated == "")
	}
	if changed {
		poke(p.wake)
	}
	return wrote
}

// judge finds out whether the rules are as they should be, and if not, whether to
// wait for that.
//
//	kube-proxy has written since, or all is as before -> right
//	endpoints have only been added                    -> right enough: those in the rules serve
//	it answers, and has had little time               -> wait
//	else                                              -> outdated, until it has written
func (t *target) judge(is proxy, down bool, heard, now time.Time) {
	back := t.backends()
	wrote, why := is.wrote(now.Sub(t.changed))
	if wrote || slices.Equal(back, t.written) {
		t.settle(back)
		return
	}
	gone := t.gone()
	switch {
	case !t.open || len(gone) == 0 || heard.IsZero():
		t.outdated = ""
	case down:
		t.outdated = fmt.Sprintf("kube-proxy has not answered since %s, and its rules lead to %s", heard.UTC().Format(time.TimeOnly), goneText(gone))
	case now.Sub(t.unwritten) > stuckAfter:
		t.outdated = fmt.Sprintf("kube-proxy has written nothing for %s (%s), and its rules lead to %s", stuckAfter, why, goneText(gone))
	}
}

func goneText(gone []netip.Addr) string {
	const most = 3
	var names []string
	for _, a := range gone[:min(len(gone), most)] {
		names = append(names, a.String())
	}
	text := strings.Join(names, ", ")
	if len(gone) > most {
		text += fmt.Sprintf(" and %d more", len(gone)-most)
	}
	return text + ", where no ready endpoint is any more"
}

// others are the nodes that could serve instead of this one.
type others struct {
	ask   map[string]netip.Addr // by name
	able  map[string]time.Time  // when they said so last
	asked time.Time
}

// Others says which other nodes announce what has outdated rules here, and where
// their speakers are. There are MostOthers at most. They are asked, for Able.
func (p *Prober) Others(nodes map[string]netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if maps.Equal(nodes, p.others.ask) {
		return
	}
	p.others.ask, p.others.asked = nodes, time.Time{}
	maps.DeleteFunc(p.others.able, func(node string, _ time.Time) bool { _, there := nodes[node]; return !there })
	poke(p.more)
}

// Able tells whether another node is known to have a kube-proxy that is well.
func (p *Prober) Able(node string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.o.Able == nil || p.others.says(node, time.Now())
}

func (o others) says(node string, now time.Time) bool {
	at, ok := o.able[node]
	return ok && now.Sub(at) < ableFor
}

// Well tells the other speakers whether this node's kube-proxy is well, or whether
// there is none that could be asked.
func (p *Prober) Well() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.health.down(time.Now()) {
		return false
	}
	for _, t := range p.targets {
		if t.open && t.outdated != "" {
			return false
		}
	}
	return true
}

// askOthers asks them from time to time.
func (p *Prober) askOthers(ctx context.Context) {
	p.mu.Lock()
	ask, due := maps.Clone(p.others.ask), time.Since(p.others.asked) >= othersEvery
	p.mu.Unlock()
	if p.o.Able == nil || len(ask) == 0 || !due {
		return
	}
	var mu sync.Mutex
	var able []string
	var wg sync.WaitGroup
	for node, at := range ask {
		wg.Go(func() {
			if p.o.Able(ctx, at) {
				mu.Lock()
				defer mu.Unlock()
				able = append(able, node)
			}
		})
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.others.take(able, now)
	p.others.asked = now
	poke(p.wake) // also when a word has become too old
}

// take takes down who is well, of those that are still asked.
func (o *others) take(able []string, now time.Time) {
	if o.able == nil {
		o.able = map[string]time.Time{}
	}
	for _, node := range able {
		if _, asked := o.ask[node]; asked {
			o.able[node] = now
		}
	}
}
