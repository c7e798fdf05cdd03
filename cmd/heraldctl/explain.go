package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/internal/kube"
)

const explainHelp = `SERVICE is namespace/name, or a name in the namespace default.

It says which address the Service has and why, which nodes announce it with which
weight, and why the others are silent. It reads the cluster through a kubeconfig,
or a file that heraldctl snapshot wrote.

What a node's own speaker says counts. The speakers are asked through the API
server, for which you need the right to list pods and to get pods/proxy in Herald's
namespace: what they have decided and announce, their BGP sessions, the new flows
that they have counted, judged beside the weights, and whether flow rescue is on.
Of a node whose speaker does not answer, "expected" is what it should do, by the
allocator's and the speakers' own rules run again; so is all of a snapshot. Of more
than 100 nodes only those are asked of which something is expected.

Of a Service with externalTrafficPolicy Local every node's kube-proxy is asked,
too, how many ready endpoints it has there. That is the weight if all is well.

  --kubeconfig FILE   default $KUBECONFIG, else ~/.kube/config
  --namespace NAME    of Herald's own objects; default herald-system
  --snapshot FILE     explain what was saved instead of asking the cluster`

const snapshotHelp = `It holds the Services, their endpoints, the Nodes and the accepted configuration,
as JSON: attach it to a bug report, or explain from it later.

  --kubeconfig FILE   default $KUBECONFIG, else ~/.kube/config
  --namespace NAME    of Herald's own objects; default herald-system`

func explainCommand() command {
	return command{
		name:  "explain",
		args:  "[FLAGS] SERVICE",
		about: "say why a Service is announced where it is, or why not",
		help:  explainHelp,
		run:   runExplain,
	}
}

func snapshotCommand() command {
	return command{
		name:  "snapshot",
		args:  "[FLAGS]",
		about: "write what Herald knows of the cluster to the standard output",
		help:  snapshotHelp,
		run:   runSnapshot,
	}
}

// clusterFlags say where the cluster is to be found.
type clusterFlags struct{ kubeconfig, namespace, snapshot string }

func (c *clusterFlags) parse(name string, args []string, withSnapshot bool) ([]string, error) {
	f := newFlags(name)
	f.StringVar(&c.kubeconfig, "kubeconfig", defaultKubeconfig(), "")
	f.StringVar(&c.namespace, "namespace", "herald-system", "")
	if withSnapshot {
		f.StringVar(&c.snapshot, "snapshot", "", "")
	}
	return parseFlags(f, args)
}

func defaultKubeconfig() string {
	if k := os.Getenv("KUBECONFIG"); k != "" {
		return k
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".kube", "config")
}

func runExplain(ctx context.Context, std streams, args []string) error {
	var c clusterFlags
	rest, err := c.parse("explain", args, true)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError{"explain takes one Service"}
	}
	key := rest[0]
	if !strings.Contains(key, "/") {
		key = "default/" + key
	}
	saved, client, err := c.load(ctx, std)
	if err != nil {
		return err
	}
	q := questionsAbout(saved, key)
	if client == nil {
		if err := explain.Service(std.out, saved, key, nil); err != nil {
			return err
		}
		explain.NotAsked(std.out, q.announcing, q.rescuing)
		return nil
	}
	answers := askNodes(ctx, client, q)
	if err := explain.Service(std.out, saved, key, answers); err != nil {
		return err
	}
	if err := crossCheck(ctx, std.out, saved.Cluster, key); err != nil {
		return err
	}
	tellRest(std.out, q, answers)
	return nil
}

func runSnapshot(ctx context.Context, std streams, args []string) error {
	var c clusterFlags
	rest, err := c.parse("snapshot", args, false)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return usageError{"snapshot takes no argument"}
	}
	saved, _, err := c.load(ctx, std)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(std.out)
	enc.SetIndent("", " ")
	return enc.Encode(saved)
}

// load reads the cluster, or the file that stands for it; then there is no Client.
func (c clusterFlags) load(ctx context.Context, std streams) (explain.Saved, *kube.Client, error) {
	if c.snapshot != "" {
		saved, err := c.read()
		return saved, nil, err
	}
	log := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	client, err := kube.New(kube.Options{Kubeconfig: c.kubeconfig, Namespace: c.namespace, UserAgent: "heraldctl", Log: log})
	if err != nil {
		return explain.Saved{}, nil, err
	}
	saved, err := c.ask(ctx, client)
	return saved, client, err
}

func (c clusterFlags) read() (saved explain.Saved, err error) {
	data, err := os.ReadFile(c.snapshot)
	if err != nil {
		return saved, err
	}
	if err := json.Unmarshal(data, &saved); err != nil {
		return saved, fmt.Errorf("%s: not a file of heraldctl snapshot: %w", c.snapshot, err)
	}
	return saved, nil
}

// patience is how long an API server may take to list everything.
const patience = 30 * time.Second

// ask reads the cluster once, with the speakers' own informers.
func (c clusterFlags) ask(ctx context.Context, client *kube.Client) (explain.Saved, error) {
	w := kube.NewWatcher(client, kube.WatchOptions{Services: true, EndpointSlices: true, Nodes: true, ConfigMap: "herald-accepted"})
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- w.Run(ctx) }()
	for {
		snapshot, synced := w.Snapshot()
		if synced {
			m, _ := w.ConfigMap()
			return explain.Saved{Config: m.Data[config.ConfigMapKey], Cluster: snapshot}, nil
		}
		select {
		case <-w.Wake():
		case err := <-failed:
			return explain.Saved{}, errors.Join(fmt.Errorf("the cluster could not be listed within %s: is the API server of %s reachable, and may you list Services, EndpointSlices, Nodes and the ConfigMap herald-accepted?", patience, c.kubeconfig), err)
		}
	}
}
