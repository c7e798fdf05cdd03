package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/speaker/l2"
	"github.com/heraldlb/herald/speaker/members"
)

// layer2 is all that a speaker needs for layer 2 only.
type layer2 struct {
	gossip    *gossip
	links     *links
	announcer *l2.Announcer
	conflicts atomic.Uint64
}

// newLayer2 returns nil without a key: then there is no layer 2.
func newLayer2(o options, client *kube.Client, watcher *kube.Watcher, log *slog.Logger) (*layer2, error) {
	if o.gossipKeyFile == "" {
		log.Info("layer 2 is off: there is no --gossip-key-file")
		return nil, nil
	}
	keys, err := readKeys(o.gossipKeyFile)
	if err != nil {
		return nil, err
	}
	l := &layer2{}
	l.announcer, err = l2.New(l2.Options{Log: log, OnConflict: func(c l2.Conflict) { l.conflict(c, client, watcher) }})
	if err != nil {
		return nil, err
	}
	l.links = &links{watcher: dataplane.NewWatcher(dataplane.Options{Log: log}), announcer: l.announcer, wake: make(chan struct{}, 1)}
	l.gossip = &gossip{
		options: members.Options{Node: o.node, Key: keys[0], Accept: keys[1:], Log: log},
		port:    uint16(o.gossipPort),
		watcher: watcher,
		wake:    make(chan struct{}, 1),
	}
	return l, nil
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
func (l *layer2) conflict(c l2.Conflict, client *kube.Client, watcher *kube.Watcher) {
	if c.Resolved {
		return
	}
	l.conflicts.Add(1)
	who := "the interface with the address " + c.MAC.String()
	if c.Bound {
		who = "the kernel of a node that has the address bound"
	}
	note := fmt.Sprintf("%s answers for %s on %s too", who, c.Addr, c.Link)
	snapshot, _ := watcher.Snapshot()
	for _, s := range snapshot.Services {
		if s.Ours() && slices.Contains(s.Ingress, c.Addr) {
			client.Event(s.Ref(), kube.Warning, "AddressConflict", note)
		}
	}
}

// took says on a Service that this node answers for its address.
func took(client *kube.Client) func(cluster.Service, string) {
	return func(s cluster.Service, note string) { client.Event(s.Ref(), kube.Normal, "AddressClaimed", note) }
}

// links adapts a Watcher to what the speaker needs, and tells the announcer what
// has changed.
type links struct {
	watcher   *dataplane.Watcher
	announcer *l2.Announcer
	wake      chan struct{}
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
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}
