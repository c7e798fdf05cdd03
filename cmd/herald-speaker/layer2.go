package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/speaker/l2"
	"github.com/heraldlb/herald/speaker/members"
	"github.com/heraldlb/herald/speaker/plan"
)

// layer2 is all that a speaker needs for layer 2 only.
type layer2 struct {
	gossip    *gossip
	links     *links
	announcer *l2.Announcer
	conflicts atomic.Uint64
	events    *rate.Limiter // of conflicts
}

// snapshots is what layer 2 needs of the cluster.
type snapshots interface {
	Snapshot() (cluster.Snapshot, bool)
}

// newLayer2 returns nil without a key: then there is no layer 2.
func newLayer2(o options, client *kube.Client, watcher snapshots, rescues func() bool, log *slog.Logger) (*layer2, error) {
	if o.gossipKeyFile == "" {
		log.Info("layer 2 is off: there is no --gossip-key-file")
		return nil, nil
	}
	keys, err := readKeys(o.gossipKeyFile)
	if err != nil {
		return nil, err
	}
	l := &layer2{events: newBudget(), gossip: &gossip{
		options: members.Options{Node: o.node, Key: keys[0], Accept: keys[1:], Log: log},
		port:    uint16(o.gossipPort),
		nodes:   func() []cluster.Node { s, _ := watcher.Snapshot(); return s.Nodes },
		wake:    make(chan struct{}, 1),
		log:     log,
		changed: make(chan struct{}, 1),
		rescues: rescues,
		told: func(problem string) {
			// Like the kubelet, a Node's Events name it by its name.
			client.Event(cluster.Ref{Kind: "Node", Name: o.node, UID: o.node}, kube.Warning, "GossipOff", problem)
		},
	}}
	l.announcer, err = l2.New(l2.Options{
		Log: log, Peer: l.gossip.Peer,
		OnConflict: func(c l2.Conflict) { l.conflict(c, client, watcher) },
	})
	if err != nil {
		return nil, err
	}
	l.links = &links{
		watcher: dataplane.NewWatcher(dataplane.Options{Log: log}), announcer: l.announcer,
		wake: make(chan struct{}, 1), told: l.gossip.changed,
	}
	l.gossip.macs = l.links.macs
	return l, nil
}

// Apply implements speaker.Announcer.
func (l *layer2) Apply(ctx context.Context, t plan.Table) error {
	err := l.announcer.Apply(ctx, t)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; apply manifests/overlays/layer2 or full, which permit it", err)
	}
	return err
}

func readKeys(file string) ([][]byte, error) {
	secret, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("gossip key: %w", err)
	}
	keys, err := members.ParseKeys(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

func (l *layer2) parts() []func(context.Context) error {
	return []func(context.Context) error{l.links.watcher.Run, l.links.Run, l.announcer.Run, l.gossip.Run}
}

// conflict counts, and tells the Services that have the address.
func (l *layer2) conflict(c l2.Conflict, client *kube.Client, watcher snapshots) {
	if c.Resolved {
		return
	}
	l.conflicts.Add(1)
	if !l.events.Allow() {
		return
	}
	snapshot, _ := watcher.Snapshot()
	for _, s := range snapshot.Services {
		if s.LoadBalancer && slices.Contains(s.Ingress, c.Addr) {
			client.Event(s.Ref(), kube.Warning, "AddressConflict", conflictNote(c))
		}
	}
}

func conflictNote(c l2.Conflict) string {
	who := "the interface with the address " + c.MAC.String()
	switch {
	case c.Bound:
		who = "the kernel of a node that has the address bound"
	case c.Peer != "":
		who = "node " + c.Peer + " (" + c.MAC.String() + ")"
	}
	return fmt.Sprintf("%s answers for %s on %s too", who, c.Addr, c.Link)
}

// newBudget bounds what is told of many addresses at once, as when a node dies
// that owns hundreds, or the gossip is cut in two: the first ones say it all.
// Each second permits one more.
func newBudget() *rate.Limiter { return rate.NewLimiter(1, 50) }

// took says on a Service that this node answers for its address.
func took(client *kube.Client) func(cluster.Service, string) {
	budget := newBudget()
	return func(s cluster.Service, note string) {
		if budget.Allow() {
			client.Event(s.Ref(), kube.Normal, "AddressClaimed", note)
		}
	}
}

// trouble says on a Service that this node does not serve it as it should.
func trouble(client *kube.Client) func(cluster.Service, plan.Reason, string) {
	budget := newBudget()
	return func(s cluster.Service, reason plan.Reason, note string) {
		if budget.Allow() {
			client.Event(s.Ref(), kube.Warning, string(reason), note)
		}
	}
}

// links adapts a Watcher to what the speaker needs, and tells the announcer what
// has changed.
type links struct {
	watcher   *dataplane.Watcher
	announcer *l2.Announcer
	wake      chan struct{}
	told      chan struct{} // that macs may return something else
}

// macs are the MACs by which neighbours know this node.
func (l *links) macs() []net.HardwareAddr {
	var used []string
	for _, s := range l.announcer.Stats() {
		used = append(used, s.Link)
	}
	return macsOf(l.watcher.Links(), used)
}

// Usable implements speaker.Links.
func (l *links) Usable(addr netip.Addr, include, exclude []string) (names []string) {
	want := dataplane.Selection{Addr: addr, Include: include, Exclude: exclude}
	for _, x := range l.watcher.Links() {
		// A node has a link for each pod: most of them are not worth a closer look.
		if len(include) == 0 && !slices.ContainsFunc(x.Prefixes, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			continue
		}
		if want.Judge(x) == dataplane.Fits {
			names = append(names, x.Name)
		}
	}
	return names
}

// Wake implements speaker.Links.
func (l *links) Wake() <-chan struct{} { return l.wake }

// Run passes changes on until ctx ends.
func (l *links) Run(ctx context.Context) error {
	var before []dataplane.Link
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.watcher.Wake():
		}
		now := l.watcher.Links()
		// If none is named, the announcer looks at all, and announces nothing again.
		l.announcer.LinksChanged(dataplane.Changed(before, now)...)
		before = now
		poke(l.wake)
		poke(l.told)
	}
}
