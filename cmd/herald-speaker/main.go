// Command herald-speaker announces, from one node, the LoadBalancer addresses
// that the node can serve.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/internal/daemon"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/serve"
	"github.com/heraldlb/herald/speaker"
	"github.com/heraldlb/herald/speaker/bgp"
	"github.com/heraldlb/herald/speaker/l2"
	"github.com/heraldlb/herald/speaker/members"
)

func main() {
	o, err := parseFlags(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(daemon.ExitCode(err)) // parseFlags has said why
	}
	if o.Version {
		fmt.Println("herald-speaker", daemon.Version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := o.Logger(os.Stderr)
	if err := run(ctx, o, log); err != nil {
		log.Error("speaker failed", "err", err)
		os.Exit(1)
	}
}

type options struct {
	*daemon.Flags
	node, configMap string
	gossipKeyFile   string
	gossipPort      uint
}

func parseFlags(args []string, errOut io.Writer) (options, error) {
	o := options{Flags: daemon.NewFlags("herald-speaker", ":7473", errOut)}
	f := o.Set()
	f.StringVar(&o.node, "node", os.Getenv("NODE_NAME"), "`name` of the Node that this speaker runs on (default $NODE_NAME)")
	f.StringVar(&o.configMap, "config-map", "herald-accepted", "`name` of the ConfigMap that the allocator publishes")
	f.StringVar(&o.gossipKeyFile, "gossip-key-file", "", "`file` with the key of the speakers' gossip: base64 of 32 bytes; empty: no gossip and no layer 2")
	f.UintVar(&o.gossipPort, "gossip-port", members.DefaultPort, "`port` of the gossip, UDP and TCP, the same on every node")
	err := o.Parse(args, func() error {
		switch {
		case o.node == "":
			return errors.New("--node is required: the name of the Node that this speaker runs on")
		case o.gossipPort < 1 || o.gossipPort > math.MaxUint16:
			return fmt.Errorf("--gossip-port %d: want 1 to 65535", o.gossipPort)
		}
		return nil
	})
	return o, err
}

// run wires the parts together and runs them until ctx is done or one fails.
func run(ctx context.Context, o options, log *slog.Logger) error {
	client, err := kube.New(kube.Options{Kubeconfig: o.Kubeconfig, Namespace: o.Namespace, UserAgent: "herald-speaker", Log: log})
	if err != nil {
		return err
	}
	watcher := kube.NewWatcher(client, kube.WatchOptions{Services: true, EndpointSlices: true, Nodes: true, ConfigMap: o.configMap})
	announcer, err := bgp.New(bgp.Options{Log: log})
	if err != nil {
		return err
	}
	ll, err := newLayer2(o, client, watcher, log)
	if err != nil {
		return err
	}
	so := speaker.Options{Node: o.node, Source: source{watcher}, Announcers: []speaker.Announcer{announcer}, Log: log, Took: took(client)}
	if ll != nil {
		so.Announcers = append(so.Announcers, ll.announcer)
		so.Members, so.Links = ll.gossip, ll.links
		so.Joined = func() { ll.announcer.Reannounce("a member has joined") }
	}
	sp, err := speaker.New(so)
	if err != nil {
		return err
	}
	if ll != nil {
		ll.gossip.ready = func() bool { return sp.State().ConfigHash != "" && len(ll.links.watcher.Links()) > 0 }
	}
	server := serve.New(serve.Options{
		Address: o.Address,
		Metrics: registry(sp, announcer, watcher, ll),
		Healthy: announcer.Healthy,
		Ready:   func() error { return ready(watcher, sp) },
		State:   func() any { return stateOf(sp, announcer, ll) },
		Log:     log,
	})
	parts := []func(context.Context) error{watcher.Run, client.RunEvents, announcer.Run, sp.Run, server.Run}
	if ll != nil {
		parts = append(parts, ll.parts()...)
	}
	log.Info("speaker started", "node", o.node)
	return runAll(ctx, ll, parts)
}

// runAll runs the parts until ctx is done or one of them fails. Only then do
// they learn of it: the others shall take our addresses over while we still
// answer for them.
func runAll(ctx context.Context, ll *layer2, parts []func(context.Context) error) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, work := errgroup.WithContext(work)
	for _, part := range parts {
		g.Go(func() error { return part(work) })
	}
	select {
	case <-ctx.Done():
	case <-work.Done():
	}
	var left error
	if ll != nil {
		left = ll.gossip.leave(work)
	}
	stop()
	return errors.Join(left, g.Wait())
}

// source adapts a Watcher to what the speaker needs.
type source struct{ *kube.Watcher }

func (s source) Config() (string, bool) {
	m, ok := s.ConfigMap()
	return m.Data["config.yaml"], ok
}

// state is /state.
type state struct {
	speaker.State
	Peers   []bgp.PeerStatus
	Links   []l2.LinkStats // on which addresses are, or were, answered for
	Members *members.State // nil: no gossip
}

func stateOf(sp *speaker.Speaker, b *bgp.Announcer, ll *layer2) state {
	st := state{State: sp.State(), Peers: b.Peers()}
	if ll != nil {
		m := ll.gossip.State()
		st.Links, st.Members = ll.announcer.Stats(), &m
	}
	return st
}

// ready tells whether this speaker announces what it should. A session that is
// down does not count: restarting the fleet one by one would then stop at the
// first router that is away.
func ready(w *kube.Watcher, sp *speaker.Speaker) error {
	if !w.Synced() {
		return errors.New("the caches have not synced: is the API server reachable?")
	}
	st := sp.State()
	if st.ConfigError != "" {
		return errors.New(st.ConfigError)
	}
	if st.ConfigHash == "" {
		return errors.New("no configuration accepted yet: see the Events of the ConfigMap herald")
	}
	if st.Error != "" {
		return fmt.Errorf("table of %s not applied: %s", st.At.Format(time.RFC3339), st.Error)
	}
	return nil
}
