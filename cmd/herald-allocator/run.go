package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/allocator"
	"github.com/heraldlb/herald/internal/daemon"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/serve"
)

// run wires the parts together and runs them until ctx is done or one fails.
func run(ctx context.Context, o options, log *slog.Logger) error {
	client, err := kube.New(kube.Options{
		Kubeconfig: o.Kubeconfig, Namespace: o.Namespace, UserAgent: "herald-allocator", Log: log,
	})
	if err != nil {
		return err
	}
	watcher := kube.NewWatcher(client, kube.WatchOptions{Services: true, Nodes: true, Namespaces: true, ConfigMap: o.configMap})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	alloc, err := allocator.New(allocator.Options{
		Source:     watcher,
		Statuses:   watcher,
		ConfigMaps: client,
		Events:     client,
		Namespace:  o.Namespace,
		ConfigMap:  o.configMap,
		Accepted:   o.accepted,
		Status:     o.status,

		ServiceClass: o.class,
		Classless:    o.classless,

		Metrics: allocator.NewMetrics(metrics),
		Log:     log,
	})
	if err != nil {
		return err
	}
	server := serve.New(serve.Options{
		Address: o.Address,
		Metrics: metrics,
		Ready:   func() error { return ready(watcher) },
		State:   func(*http.Request) any { return alloc.State() },
		Log:     log,
	})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return watcher.Run(ctx) })
	g.Go(func() error { return client.RunEvents(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error {
		return client.Elect(ctx, kube.Election{Name: o.lease, Identity: o.identity}, alloc.Run)
	})
	log.Info("allocator started", "version", daemon.Version(), "namespace", o.Namespace, "configmap", o.configMap)
	return g.Wait()
}

// ready tells whether this replica could lead at once.
func ready(w *kube.Watcher) error {
	if !w.Synced() {
		return errors.New("caches are not synced")
	}
	return nil
}
