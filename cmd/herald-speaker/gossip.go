package main

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/speaker/members"
)

const (
	// settleFor lets the first exchange of states come to its end, so that we own
	// nothing for a moment because we have met only the first of the others.
	settleFor = 50 * time.Millisecond
	// aloneAfter is how long we look for others before we own everything.
	aloneAfter = 3 * time.Second

	leaveWithin = 500 * time.Millisecond
	// answerOn is how long we answer for what the others take over meanwhile.
	answerOn = 100 * time.Millisecond
)

// gossip takes part as soon as this speaker could take over what the others hand
// to it when they meet it. Before that it knows nobody, and owns nothing.
type gossip struct {
	options members.Options
	port    uint16
	watcher *kube.Watcher
	ready   func() bool // the caches have synced, a configuration is in force, links are known
	wake    chan struct{}

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
	m, err := members.New(o)
	if err != nil {
		return err
	}
	g.members.Store(m)
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return m.Run(ctx) })
	work.Go(func() error { return g.follow(ctx, m) })
	return work.Wait()
}

// await returns our own address, by which the others know us.
func (g *gossip) await(ctx context.Context) (netip.Addr, bool) {
	for {
		if self := g.self(); self.IsValid() && g.ready() {
			return self, true
		}
		select {
		case <-ctx.Done():
			return netip.Addr{}, false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (g *gossip) nodes() []cluster.Node {
	s, _ := g.watcher.Snapshot()
	return s.Nodes
}

func (g *gossip) self() netip.Addr {
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
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
}

// leave has the others take our addresses over while we still answer for them.
func (g *gossip) leave(ctx context.Context) error {
	m := g.members.Load()
	if m == nil {
		return nil
	}
	err := m.Leave(leaveWithin)
	select {
	case <-ctx.Done():
	case <-time.After(answerOn):
	}
	return err
}
