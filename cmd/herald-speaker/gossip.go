package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
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

	members atomic.Pointer[members.Members]
	settled atomic.Bool
}

// Alive implements speaker.Members.
func (g *gossip) Alive() map[string]bool {
	if m := g.members.Load(); m != nil && g.settled.Load() {
		return m.Alive()
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
	if m := g.members.Load(); m != nil {
		return m.State()
	}
	return members.State{Self: g.options.Node}
}

// Run waits until this speaker is ready, and takes part then.
func (g *gossip) Run(ctx context.Context) error {
	self, ok := g.await(ctx)
	if !ok {
		return nil
	}
	o := g.options
	o.Bind = netip.AddrPortFrom(self, g.port)
	o.Peers = func() []netip.AddrPort { return g.peers(cluster.FamilyOf(self)) }
	o.Meta = func() []byte { return g.self().encode(members.MetaSize) }
	m, err := members.New(o)
	if err != nil {
		return err
	}
	g.members.Store(m)
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return m.Run(ctx) })
	work.Go(func() error { return g.follow(ctx, m) })
	work.Go(func() error { return g.tell(ctx) })
	return work.Wait()
}

// await returns our own address, by which the others know us.
func (g *gossip) await(ctx context.Context) (netip.Addr, bool) {
	for {
		if self := g.address(); self.IsValid() && g.ready() {
			if len(g.nodes()) > 1 {
				sleep(ctx, warmUp)
			}
			return self, ctx.Err() == nil
		}
		if sleep(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return netip.Addr{}, false
		}
	}
}

func (g *gossip) address() netip.Addr {
	for _, n := range g.nodes() {
		if n.Name == g.options.Node && len(n.Addrs) > 0 {
			return n.Addrs[0]
		}
	}
	return netip.Addr{}
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
			g.settled.Store(true)
			calm = make(chan time.Time)
		case <-alone:
			g.settled.Store(true)
		}
		poke(g.wake)
		poke(g.rescuer)
	}
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
	m := g.members.Load()
	if m == nil {
		return nil
	}
	err := m.Leave(leaveWithin)
	sleep(ctx, answerOn)
	return err
}
