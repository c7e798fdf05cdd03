package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/serve"
	"github.com/heraldlb/herald/speaker"
	"github.com/heraldlb/herald/speaker/bgp"
	"github.com/heraldlb/herald/speaker/flows"
	"github.com/heraldlb/herald/speaker/forwarding"
	"github.com/heraldlb/herald/speaker/resume"
)

// node is all that runs on one node.
type node struct {
	o       options
	log     *slog.Logger
	client  *kube.Client
	watcher *kube.Watcher
	source  *resume.Source
	prober  *forwarding.Prober
	gateway gateways
	aliases *dataplane.Aliases
	rescuer *rescuer
	meter   *flows.Meter
	bgp     *bgp.Announcer
	layer2  *layer2 // nil: off
	speaker *speaker.Speaker
	server  *serve.Server
}

// newNode wires the parts together and starts none.
func newNode(o options, log *slog.Logger) (n *node, err error) {
	n = &node{o: o, log: log}
	n.client, err = kube.New(kube.Options{Kubeconfig: o.Kubeconfig, Namespace: o.Namespace, UserAgent: "herald-speaker", Log: log})
	if err != nil {
		return nil, err
	}
	n.watcher = kube.NewWatcher(n.client, kube.WatchOptions{Services: true, EndpointSlices: true, Nodes: true, ConfigMap: o.configMap})
	n.source = resume.New(source{n.watcher}, resume.Options{File: o.stateFile, Node: o.node, BootID: resume.BootID(), Log: log})
	n.prober, err = forwarding.New(forwarding.Options{Healthz: o.kubeProxyHealthz, Metrics: o.kubeProxyMetrics, Able: able(o), Booted: resume.Booted(), Log: log})
	if err != nil {
		return nil, err
	}
	n.aliases, n.rescuer = dataplane.NewAliases(log), newRescuer(log)
	n.gateway = gateways{dataplane.NewGatewayWatcher(log)}
	n.prober.Know(n.source.Forwarded())
	n.bgp, err = bgp.New(bgp.Options{Log: log, Password: n.password})
	if err != nil {
		return nil, err
	}
	n.layer2, err = newLayer2(o, n.client, n.source, n.rescuer.Serves, log)
	if err != nil {
		return nil, err
	}
	n.speaker, err = speaker.New(n.options())
	if err != nil {
		return nil, err
	}
	n.meter, err = newMeter(n, log)
	if err != nil {
		return nil, err
	}
	if ll := n.layer2; ll != nil {
		n.rescuer.told, n.rescuer.lost = ll.gossip.changed, ll.gossip.Lost
		ll.gossip.rescuer = n.rescuer.wake
		ll.gossip.ready = func() bool { return n.speaker.State().ConfigHash != "" && len(ll.links.watcher.Links()) > 0 }
	}
	n.server = serve.New(serve.Options{
		Address: o.Address,
		Metrics: n.metrics(),
		Healthy: n.bgp.Healthy,
		Ready:   n.ready,
		State:   func(r *http.Request) any { return n.state().about(r.URL.Query().Get("service")) },
		More:    map[string]http.Handler{"GET /flows": n.meter.Handler(), "GET " + forwarding.Path: n.prober.Handler()},
		Failed: func(why string) {
			n.tell("PortInUse", "herald-speaker announces, but serves no metrics, health or state, and counts as not ready: "+why)
		},
		Log: log,
	})
	return n, nil
}

func (n *node) options() speaker.Options {
	so := speaker.Options{
		Node: n.o.node, Source: n.source, Announcers: []speaker.Announcer{n.rescuer, replicas{n.aliases, n.bgp}}, Forwarding: n.prober, Gateways: n.gateway,
		Log: n.log, Took: took(n.client), Rescue: n.source.Rescue(), Trouble: trouble(n.client),
		Fused: func(note string) { n.tell("WithdrawalHeld", note) },
		Applied: func(speaker.State, error) {
			n.source.Save(n.prober.Open(), n.speaker.State().Remembered)
			n.meter.Wake()
		},
	}
	if ll := n.layer2; ll != nil {
		so.Announcers = append(so.Announcers, ll)
		so.Members, so.Links = ll.gossip, ll.links
		so.Joined = func() { ll.announcer.Reannounce("a member has joined") }
	}
	return so
}

// tell writes a Warning on this Node. Like the kubelet's, a Node's Events name it by
// its name.
func (n *node) tell(reason, note string) {
	n.client.Event(cluster.Ref{Kind: "Node", Name: n.o.node, UID: n.o.node}, kube.Warning, reason, note)
}

// run runs the parts until ctx is done or one of them fails. Only then do they
// learn of it: others shall take over what we announce while we still do.
func (n *node) run(ctx context.Context) error {
	parts := []func(context.Context) error{
		n.watcher.Run, n.client.RunEvents, n.source.Run, n.prober.Run, n.gateway.Run, n.rescuer.Run, n.meter.Run, n.bgp.Run, n.speaker.Run, n.server.Run,
	}
	if n.layer2 != nil {
		parts = append(parts, n.layer2.parts()...)
	}
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
	end, left := n.end(work)
	stop()
	err := errors.Join(left, g.Wait())
	ctx = context.WithoutCancel(ctx)
	if end.forGood() {
		err = errors.Join(err, n.aliases.Keep(ctx, nil))
	}
	if end.removed {
		err = errors.Join(err, n.rescuer.leave(ctx))
	}
	return err
}

// ending is why this speaker ends.
type ending struct {
	why     string // empty: it is being replaced, upgraded or restarted
	removed bool   // Herald itself is, and not only this node
}

func (e ending) forGood() bool { return e.why != "" }

// askWithin bounds the one question about the end that needs the API server.
const askWithin = time.Second

// end hands over what others can take, and finds out whether this is the end for
// good. When in doubt it is not: a router keeps the routes of a speaker that is
// replaced, and nobody's connection breaks.
func (n *node) end(ctx context.Context) (e ending, err error) {
	// If a part has failed, whoever starts us again goes on.
	failed := ctx.Err() != nil
	if !failed {
		e = n.whyLeave(ctx)
	}
	if e.forGood() {
		n.log.Info("leaving for good", "reason", e.why)
		n.bgp.Leave()
		n.drain(ctx)
	} else {
		n.log.Info("leaving the routes to the next speaker")
	}
	if n.layer2 != nil && !failed {
		if e.removed {
			n.rescuer.retire()
			n.layer2.gossip.update()
		}
		err = n.layer2.gossip.leave(ctx)
	}
	return e, err
}

// drain waits for the routers to turn to other nodes.
func (n *node) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.speaker.State().DrainTime+2*time.Second)
	defer cancel()
	if err := n.speaker.Leave(ctx); err != nil {
		n.log.Warn("not drained in time", "err", err)
	}
}

func (n *node) whyLeave(ctx context.Context) ending {
	// A drained node's pods may still serve connections that were moved: the tables
	// of flow rescue stay.
	if why := n.speaker.State().Drains; why != "" {
		return ending{why: why}
	}
	if n.o.daemonSet == "" {
		return ending{}
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	switch gone, err := n.client.DaemonSetGone(ctx, n.o.daemonSet); {
	case err != nil:
		n.log.Warn("not known whether the DaemonSet is gone", "err", err)
	case gone:
		return ending{"the DaemonSet " + n.o.daemonSet + " is gone", true}
	}
	return ending{}
}

// password reads a key of the Secret herald-bgp. The kubelet keeps the files up to
// date, and no right to read Secrets is needed.
func (n *node) password(key string) (string, error) {
	if n.o.passwordDir == "" {
		return "", errors.New("the speaker has no --bgp-password-dir")
	}
	b, err := os.ReadFile(filepath.Join(n.o.passwordDir, filepath.Base(key)))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("the Secret herald-bgp has no key %s, or does not exist", key)
	}
	return strings.TrimRight(string(b), "\r\n"), err
}

// source adapts a Watcher to what the speaker needs.
type source struct{ *kube.Watcher }

func (s source) Config() (string, bool) {
	m, ok := s.ConfigMap()
	return m.Data["config.yaml"], ok
}

// gateways adapts a GatewayWatcher to what the speaker needs.
type gateways struct{ *dataplane.GatewayWatcher }

// Gateways implements speaker.Gateways.
func (g gateways) Gateways() map[cluster.Family]netip.Addr {
	now, _ := g.GatewayWatcher.Gateways()
	out := map[cluster.Family]netip.Addr{}
	for f, a := range map[cluster.Family]netip.Addr{cluster.IPv4: now.IPv4, cluster.IPv6: now.IPv6} {
		if a.IsValid() {
			out[f] = a
		}
	}
	return out
}
