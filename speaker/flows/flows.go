// Package flows measures which share of the new flows to each address comes to this
// node, and judges it beside the shares that come to the others: routers that ignore
// weights say nothing of it.
//
// The kernel counts (dataplane.Flows), this package takes samples and says what they
// are of, and internal/share judges. The speaker on the first of the nodes that
// announce an address asks those on the others, and tells.
package flows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/internal/share"
)

const (
	// sampleEvery is how finely the past is known, and ringSize how far back.
	sampleEvery = 10 * time.Second
	ringSize    = 90
	// settleFor is how long routers get to follow a change, and datagrams of flows that
	// have moved to come in.
	settleFor = 30 * time.Second
	// pause bounds the work where Services come and go.
	pause = time.Second
	// judgeEvery is how often the other nodes are asked.
	judgeEvery = 30 * time.Second
)

// Host is the kernel that counts.
type Host interface {
	Probe(ctx context.Context, v6 bool) error
	Set(context.Context, dataplane.FlowSpec) error
	Read(context.Context) (map[netip.Addr]dataplane.FlowCounts, error)
	Forget(context.Context, []netip.Addr) error
	Remove(context.Context) error
	Uplinks(context.Context, dataplane.UplinkHints) ([]string, error)
	Neighbours(context.Context, []netip.Addr) (map[netip.Addr]dataplane.Neighbour, error)
}

// Options of a Meter.
type Options struct {
	Node      string           // required: the name of this Node
	Host      Host             // nil: nothing is counted, as Off says
	Off       string           // why there is no Host
	Situation func() Situation // required
	// Ask returns the report of another node's speaker. nil: nobody is asked, and
	// nothing judged.
	Ask func(ctx context.Context, node netip.Addr) (share.Report, error)
	// Wrong is told of an address whose flows have turned out not to follow the
	// weights. nil: nothing.
	Wrong func(share.Verdict)
	Log   *slog.Logger // nil: discard

	// For tests; zero: as above.
	SampleEvery, SettleFor, JudgeEvery time.Duration
}

// Meter measures. Its methods other than Run are for any goroutine.
type Meter struct {
	o    Options
	wake chan struct{}
	told atomic.Pointer[told]

	// Owned by Run.
	probed map[bool]bool // for IPv6, for IPv4
	made   bool          // there may be tables of ours
	near   map[netip.Addr]dataplane.Neighbour
	books  accounts

	verdicts atomic.Pointer[[]share.Verdict]
	unheard  atomic.Pointer[map[string]string]
	wrong    map[netip.Addr]bool   // owned by the judging
	warned   map[share.Warning]int // owned by the watching: how many looks have seen each
}

// told is the newest report, but for its age.
type told struct {
	report share.Report
	at     time.Time // of the newest sample
}

// New makes a Meter that starts nothing.
func New(o Options) (*Meter, error) {
	if o.Node == "" || o.Situation == nil {
		return nil, errors.New("flows: Node and Situation are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.SampleEvery = cmp.Or(o.SampleEvery, sampleEvery)
	o.SettleFor = cmp.Or(o.SettleFor, settleFor)
	o.JudgeEvery = cmp.Or(o.JudgeEvery, judgeEvery)
	m := &Meter{
		o: o, wake: make(chan struct{}, 1), probed: map[bool]bool{},
		near: map[netip.Addr]dataplane.Neighbour{}, books: accounts{}, wrong: map[netip.Addr]bool{}, warned: map[share.Warning]int{},
	}
	m.told.Store(&told{report: share.Report{Off: cmp.Or(o.Off, "this speaker announces nothing yet"), Every: o.SampleEvery}, at: time.Now()})
	return m, nil
}

// Wake has the Meter look at the Situation again, soon.
func (m *Meter) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Report is what this node has counted.
func (m *Meter) Report() share.Report {
	t := m.told.Load()
	r := t.report
	r.Age = time.Since(t.at)
	return r
}

// Verdicts are of the addresses that this node judges: those of which it is the
// first by name among the nodes that announce them.
func (m *Meter) Verdicts() []share.Verdict {
	if v := m.verdicts.Load(); v != nil {
		return *v
	}
	return nil
}

// Unheard are the nodes whose speakers could not be asked when they were last, and
// why.
func (m *Meter) Unheard() map[string]string {
	if u := m.unheard.Load(); u != nil {
		return *u
	}
	return nil
}

// Run counts and judges until ctx ends, and removes what it has made. Warnings need
// no counts.
func (m *Meter) Run(ctx context.Context) error {
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		m.watch(ctx)
	}()
	err := m.measureUntil(ctx)
	<-watching
	return err
}

func (m *Meter) measureUntil(ctx context.Context) error {
	if m.o.Host == nil {
		<-ctx.Done()
		return nil
	}
	judging := make(chan struct{})
	go func() {
		defer close(judging)
		m.judge(ctx)
	}()
	m.count(ctx)
	<-judging
	if !m.made {
		return nil
	}
	if err := m.o.Host.Remove(context.WithoutCancel(ctx)); err != nil {
		m.o.Log.Warn("the tables that count flows stay", "err", err)
	}
	return nil
}

// untilSample is the time until the next one. All nodes take them at the same
// moments, as far as their clocks agree: between full tens of seconds, which is when
// much of what happens by the clock does.
func (m *Meter) untilSample(now time.Time) time.Duration {
	every := m.o.SampleEvery
	left := now.Add(every / 2).Truncate(every).Add(every / 2).Sub(now)
	if left < every/2 { // this is the one that was due, a moment early
		left += every
	}
	return left
}

func (m *Meter) count(ctx context.Context) {
	sample := time.NewTimer(m.untilSample(time.Now()))
	defer sample.Stop()
	var last time.Time
	var soon <-chan time.Time
	for {
		due := false
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			if wait := pause - time.Since(last); wait > 0 {
				if soon == nil {
					soon = time.After(wait)
				}
				continue
			}
		case <-soon:
			soon = nil
		case <-sample.C:
			due = true
			sample.Reset(m.untilSample(time.Now()))
		}
		last = time.Now()
		before := m.told.Load().report.Off
		t := m.step(ctx, due, time.Now())
		m.told.Store(t)
		switch off := t.report.Off; {
		case off == before:
		case off != "":
			m.o.Log.Info("new flows are not counted", "why", off)
		default:
			m.o.Log.Info("new flows are counted")
		}
	}
}

// step takes a sample if one is due, and has the kernel count what is announced
// now.
func (m *Meter) step(ctx context.Context, due bool, now time.Time) *told {
	out := &told{report: share.Report{Every: m.o.SampleEvery}, at: m.told.Load().at}
	if due {
		out.at = now
	}
	if err := m.measure(ctx, due, now); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; apply manifests/overlays/measure, add-path, flow-rescue or full, which permit it", err)
		}
		m.books.again(now.Add(m.o.SettleFor))
		out.report.Off = err.Error()
		return out
	}
	for _, a := range m.books {
		out.report.Addresses = append(out.report.Addresses, a.told())
	}
	slices.SortFunc(out.report.Addresses, func(a, b share.Address) int { return a.Addr.Compare(b.Addr) })
	return out
}

func (m *Meter) measure(ctx context.Context, due bool, now time.Time) error {
	situation := m.o.Situation()
	if due && len(m.books) > 0 {
		if err := m.sample(ctx, now); err != nil {
			return err
		}
	}
	if err := m.find(ctx, situation.Peers); err != nil {
		return err
	}
	targets := situation.targets(routersOf(m.near))
	if len(targets) == 0 {
		clear(m.books)
		return m.remove(ctx)
	}
	if err := m.probe(ctx, targets); err != nil {
		return err
	}
	links, err := m.o.Host.Uplinks(ctx, situation.hints())
	if err != nil {
		return err
	}
	anew := m.books.refresh(targets, m.o.SettleFor, now)
	m.made = true
	if err := m.o.Host.Set(ctx, spec(targets, m.near, links)); err != nil {
		return err
	}
	if len(anew) > 0 {
		return m.o.Host.Forget(ctx, anew)
	}
	return nil
}

func (m *Meter) remove(ctx context.Context) error {
	if !m.made {
		return nil
	}
	if err := m.o.Host.Remove(ctx); err != nil {
		return err
	}
	m.made = false
	return nil
}

// probe asks once, for the families that are wanted. What was possible stays so.
func (m *Meter) probe(ctx context.Context, targets []target) error {
	for _, t := range targets {
		v6 := t.addr.Is6()
		if m.probed[v6] {
			continue
		}
		if err := m.o.Host.Probe(ctx, v6); err != nil {
			return err
		}
		m.probed[v6] = true
	}
	return nil
}

// find looks for the peers' MACs. Where a peer was last it will be again, so that
// one that does not answer is still told apart.
func (m *Meter) find(ctx context.Context, peers []Peer) error {
	var addrs []netip.Addr
	there := map[netip.Addr]bool{}
	for _, p := range peers {
		if !p.Address.IsValid() {
			continue
		}
		there[p.Address] = true
		if p.Up {
			addrs = append(addrs, p.Address)
		}
	}
	found, err := m.o.Host.Neighbours(ctx, addrs)
	if err != nil {
		return err
	}
	for a, n := range found {
		m.near[a] = n
	}
	for a := range m.near {
		if !there[a] {
			delete(m.near, a)
		}
	}
	return nil
}

func (m *Meter) sample(ctx context.Context, now time.Time) error {
	counts, err := m.o.Host.Read(ctx)
	if err != nil {
		return err
	}
	routers := routersOf(m.near)
	readings := make(map[netip.Addr]reading, len(counts))
	for addr, c := range counts {
		r := reading{all: c.All, by: map[string]uint64{"": c.Others}}
		counted := map[dataplane.RouterMAC]bool{}
		for a, n := range m.near {
			// One router may have several addresses.
			if mac := macOf(n.MAC); !counted[mac] {
				counted[mac] = true
				r.by[routers[a]] += c.ByRouter[mac]
			}
		}
		readings[addr] = r
	}
	m.books.sample(readings, ringSize, now)
	return nil
}
