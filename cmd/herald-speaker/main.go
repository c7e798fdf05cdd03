// Command herald-speaker announces, from one node, the LoadBalancer addresses
// that the node can serve.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
}

func parseFlags(args []string, errOut io.Writer) (options, error) {
	o := options{Flags: daemon.NewFlags("herald-speaker", ":7473", errOut)}
	f := o.Set()
	f.StringVar(&o.node, "node", os.Getenv("NODE_NAME"), "`name` of the Node that this speaker runs on (default $NODE_NAME)")
	f.StringVar(&o.configMap, "config-map", "herald-accepted", "`name` of the ConfigMap that the allocator publishes")
	return o, o.Parse(args, func() error {
		if o.node == "" {
			return errors.New("--node is required: the name of the Node that this speaker runs on")
		}
		return nil
	})
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
	sp, err := speaker.New(speaker.Options{Node: o.node, Source: source{watcher}, Announcers: []speaker.Announcer{announcer}, Log: log})
	if err != nil {
		return err
	}
	server := serve.New(serve.Options{
		Address: o.Address,
		Metrics: registry(sp, announcer, watcher),
		Healthy: announcer.Healthy,
		Ready:   func() error { return ready(watcher, sp) },
		State:   func() any { return state{sp.State(), announcer.Peers()} },
		Log:     log,
	})
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{watcher.Run, announcer.Run, sp.Run, server.Run} {
		g.Go(func() error { return part(ctx) })
	}
	log.Info("speaker started", "node", o.node)
	return g.Wait()
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
	Peers []bgp.PeerStatus
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
