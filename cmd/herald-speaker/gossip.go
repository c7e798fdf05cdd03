package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/members"
)

const (
	// warmUp is for how long we take no part although we could. On a node that
	// has just booted, the API still calls the endpoints ready that ran before; it
	// must get the time to learn better.
	warmUp = 2 * time.Second
	// settleFor lets the first exchange of states come to its end, so that we own
	// nothing for a moment because we have met only the first of the others.
	settleFor = 50 * time.Millisecond
	// aloneAfter is how long we look for others before we own everything.
	aloneAfter = 3 * time.Second

	// tellWithin is how long it may take to tell the others of our links.
	tellWithin = 500 * time.Millisecond

	// lookEvery is how often we look whether our address is still ours.
	lookEvery = 500 * time.Millisecond

	leaveWithin = 500 * time.Millisecond
	// answerOn is how long we answer for what the others take over meanwhile.
	answerOn = 100 * time.Millisecond
)

// gossip takes part as soon as this speaker could take over what the others hand
// to it when they meet it. Before that it knows nobody, and owns nothing.
type gossip struct {
	options members.Options
	port    uint16
	nodes   func() []cluster.Node
	ready   func() bool // the caches have synced, a configuration is in force, links are known
	wake    chan struct{}
	log     *slog.Logger

	macs    func() []net.HardwareAddr // of our links
	rescues func() bool               // we answer what others ask for flow rescue
	changed chan struct{}             // one of them returns something else

	rescuer chan struct{} // poked like wake
	told    func(problem string)

	members atomic.Pointer[members.Members]
	settled atomic.Bool
	held    atomic.Pointer[map[string]bool] // who was alive when our address changed; nil: it has not, of late
	problem atomic.Pointer[string]          // why we take no part; nil: we do
	left    atomic.Bool
}

// Alive implements speaker.Members. While we move to another address, who was
// alive counts as alive: we go on answering for what is ours.
func (g *gossip) Alive() map[string]bool {
	if m := g.members.Load(); m != nil && g.settled.Load() {
		return m.Alive()
	}
	if held := g.held.Load(); held != nil {
		return *held
	}
	return map[string]bool{}
}

// Peer names the node that has, or had, a link with this MAC.
func (g *gossip) Peer(mac net.HardwareAddr) (node string, ok bool) {
	if g.self().has(mac) {
		return g.options.Node, true
	}
	for node, m := range g.others() {
		if m.has(mac) {
			return node, true
		}
	}
	return "", false
}

// NotRescuing implements speaker.Members. Who has gone counts as he said last:
// his tables outlive his speaker.
func (g *gossip) NotRescuing() map[string]bool {
	out := map[string]bool{}
	if !g.rescues() {
		out[g.options.Node] = true
	}
	for node, m := range g.others() {
		if !m.rescues {
			out[node] = true
		}
	}
	return out
}

func (g *gossip) self() meta { return meta{g.rescues(), g.macs()} }

// others is what they have told of themselves.
func (g *gossip) others() map[string]meta {
	out := map[string]meta{}
	m := g.members.Load()
	if m == nil {
		return out
	}
	for node, b := range m.Metas() {
		if said, ok := decodeMeta(b); ok {
			out[node] = said
		}
	}
	return out
}

// Lost are the nodes whose speakers have failed without a farewell, and where they
// were.
func (g *gossip) Lost() map[string]netip.AddrPort {
	out := map[string]netip.AddrPort{}
	for _, l := range g.State().Lost {
		out[l.Node] = l.Address
	}
	return out
}

// Wake implements speaker.Members.
func (g *gossip) Wake() <-chan struct{} { return g.wake }

// State is for /state and metrics.
func (g *gossip) State() members.State {
	st := members.State{Self: g.options.Node}
	if m := g.members.Load(); m != nil {
		st = m.State()
	}
	if p := g.problem.Load(); p != nil {
		st.Problem = *p
	}
	return st
}

// Run waits until this speaker is ready, and takes part then. A node may get another
// address; then it takes part there.
func (g *gossip) Run(ctx context.Context) error {
	for first := true; ; first = false {
		self, ok := g.await(ctx, first)
		if !ok {
			return nil
		}
		if err := g.at(ctx, self); ctx.Err() != nil || g.left.Load() || err != nil {
			return err
		}
	}
}

// at takes part at an address, until it is not ours any more.
func (g *gossip) at(ctx context.Context, self netip.Addr) error {
	o := g.options
	o.Bind = netip.AddrPortFrom(self, g.port)
	o.Peers = func() []netip.AddrPort { return g.peers(cluster.FamilyOf(self)) }
	o.Meta = func() []byte { return g.self().encode(members.MetaSize) }
	m, err := members.New(o)
	if err != nil {
		return err
	}
	here, stop := context.WithCancel(ctx)
	defer stop()
	g.members.Store(m)
	work, here := errgroup.WithContext(here)
	work.Go(func() error { defer stop(); return m.Run(here) })
	work.Go(func() error { return g.follow(here, m) })
	work.Go(func() error { return g.tell(here) })
	moved := false
	work.Go(func() error {
		if moved = g.stays(here, self); moved {
			stop()
		}
		return nil
	})
	err = work.Wait()
	if moved {
		g.log.Info("gossip stops at an address", "address", self, "err", err)
		return nil // what cannot be said from an address that is gone is no fault of ours
	}
	return err
}

// stays returns when our address is another one, or is not ours alone, and with ctx.
func (g *gossip) stays(ctx context.Context, self netip.Addr) (moved bool) {
	for {
		if sleep(ctx, lookEvery); ctx.Err() != nil {
			return false
		}
		now, problem := g.address()
		if problem == "" && now == self || problem != "" && !now.IsValid() {
			continue // a Node that has lost its address in the API may have it all the same
		}
		alive := g.Alive()
		g.held.Store(nil)
		if problem == "" {
			g.held.Store(&alive)
		}
		g.settled.Store(false)
		g.members.Store(nil)
		poke(g.wake)
		poke(g.rescuer)
		return true
	}
}

// await returns our own address, by which the others know us. It says what is in
// the way.
func (g *gossip) await(ctx context.Context, first bool) (netip.Addr, bool) {
	for {
		self, problem := g.address()
		if g.ready() {
			g.says(problem)
		}
		if problem == "" && g.ready() {
			if first && len(g.nodes()) > 1 {
				sleep(ctx, warmUp)
			}
			return self, ctx.Err() == nil
		}
		if sleep(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return netip.Addr{}, false
		}
	}
}

// says tells a problem once, and that it is over.
func (g *gossip) says(problem string) {
	before := g.problem.Load()
	switch {
	case problem == "":
		if g.problem.Store(nil); before != nil {
			g.log.Info("gossip begins: the problem is over")
		}
	case before == nil || *before != problem:
		g.problem.Store(&problem)
		g.log.Error("gossip cannot begin", "problem", problem)
		if g.told != nil {
			g.told(problem)
		}
	}
}

// address is ours in the gossip, and why there is none, or none that we can use.
// Two nodes with one address would each believe to be alone: neither takes part,
// and so neither owns anything. A Node that is not ready may be left over from
// before a machine got another name.
func (g *gossip) address() (self netip.Addr, problem string) {
	nodes := g.nodes()
	i := slices.IndexFunc(nodes, func(n cluster.Node) bool { return n.Name == g.options.Node })
	switch {
	case i < 0:
		return netip.Addr{}, "the cluster has no Node " + g.options.Node + " that this speaker knows"
	case len(nodes[i].Addrs) == 0:
		return netip.Addr{}, "the Node " + g.options.Node + " has no InternalIP in its status.addresses, by which other speakers could find this one: set the kubelet's --node-ip, or look at the cloud provider"
	}
	self = nodes[i].Addrs[0]
	for _, n := range nodes {
		if n.Name != g.options.Node && slices.Contains(n.Addrs, self) && (n.Ready || !nodes[i].Ready) {
			return self, fmt.Sprintf("the Nodes %s and %s have the same InternalIP %s, so neither can be told from the other: give each kubelet its own --node-ip", g.options.Node, n.Name, self)
		}
	}
	return self, ""
}

func (g *gossip) peers(f cluster.Family) (out []netip.AddrPort) {
	for _, n := range g.nodes() {
		if a := n.Addr(f); a.IsValid() {
			out = append(out, netip.AddrPortFrom(a, g.port))
		}
	}
	return out
}

// follow passes on who comes and goes, once the first of them are known.
func (g *gossip) follow(ctx context.Context, m *members.Members) error {
	alone := time.After(aloneAfter)
	if len(g.nodes()) == 1 {
		alone = time.After(0)
	}
	var calm <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.Wake():
			if calm == nil && len(m.Alive()) > 1 {
				calm = time.After(settleFor)
			}
		case <-calm:
			g.settle()
			calm = make(chan time.Time)
		case <-alone:
			g.settle()
		}
		poke(g.wake)
		poke(g.rescuer)
	}
}

// settle says that what the gossip knows is the truth from now.
func (g *gossip) settle() {
	g.settled.Store(true)
	g.held.Store(nil)
}

// tell has the others know what has changed with us.
func (g *gossip) tell(ctx context.Context) error {
	told := g.self().encode(members.MetaSize)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.changed:
		}
		if now := g.self().encode(members.MetaSize); !bytes.Equal(told, now) {
			g.update()
			told = now
			poke(g.wake) // NotRescuing tells of this node as well
		}
	}
}

// update returns when the others have been told.
func (g *gossip) update() {
	m := g.members.Load()
	if m == nil {
		return
	}
	if err := m.MetaChanged(tellWithin); err != nil {
		g.log.Warn("the other speakers may not know our links yet, nor whether flow rescue works here", "err", err)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// leave has the others take our addresses over while we still answer for them.
func (g *gossip) leave(ctx context.Context) error {
	g.left.Store(true)
	m := g.members.Load()
	if m == nil {
		return nil
	}
	err := m.Leave(leaveWithin)
	sleep(ctx, answerOn)
	return err
}
