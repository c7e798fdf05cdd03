package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/internal/kube"
)

const explainHelp = `SERVICE is namespace/name, or a name in the namespace of --namespace.

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

What is not as it should be stands at the end. The exit status is 0 if that is nothing, 1
if it is something, 2 if the command line is wrong, and 3 if the cluster or the file
could not be read, or has no such Service.

  -n, --namespace NAME     of the Service; default that of the context, else default
  --snapshot FILE          explain what was saved instead of asking the cluster
` + clusterHelp

const snapshotHelp = `It holds the Services, their endpoints, the Nodes and the accepted configuration,
as JSON: attach it to a bug report, or explain from it later.

` + clusterHelp

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

// clusterHelp is what clusterFlags mean.
const clusterHelp = `  --kubeconfig FILE        default $KUBECONFIG, which may be a list, else ~/.kube/config
  --context NAME           of the kubeconfig; default its current one
  --herald-namespace NAME  of Herald's own objects; default herald-system`

// clusterFlags say where the cluster is to be found.
type clusterFlags struct{ kubeconfig, context, heraldNamespace, snapshot string }

// into adds the flags to those of a command.
func (c *clusterFlags) into(f *flag.FlagSet) {
	f.StringVar(&c.kubeconfig, "kubeconfig", defaultKubeconfig(), "")
	f.StringVar(&c.context, "context", "", "")
	f.StringVar(&c.heraldNamespace, "herald-namespace", "herald-system", "")
}

func (c *clusterFlags) intoWithSnapshot(f *flag.FlagSet) {
	c.into(f)
	f.StringVar(&c.snapshot, "snapshot", "", "")
}

// client reads the credentials. It does not connect.
func (c clusterFlags) client(std streams) (*kube.Client, error) {
	log := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return kube.New(kube.Options{Kubeconfig: c.kubeconfig, Context: c.context, Namespace: c.heraldNamespace, UserAgent: "heraldctl", Log: log})
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
	var namespace string
	f := newFlags("explain")
	c.intoWithSnapshot(f)
	f.StringVar(&namespace, "namespace", "", "")
	f.StringVar(&namespace, "n", "", "")
	rest, err := parseFlags(f, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError{"explain takes one Service"}
	}
	key, err := c.serviceKey(namespace, rest[0])
	if err != nil {
		return err
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
		return tellWrong(std.out, saved, key, nil)
	}
	answers := askNodes(ctx, client, q)
	if err := explain.Service(std.out, saved, key, answers); err != nil {
		return err
	}
	if err := crossCheck(ctx, std.out, saved.Cluster, key); err != nil {
		return err
	}
	tellRest(std.out, q, answers)
	return tellWrong(std.out, saved, key, answers)
}

// tellWrong lists what is not as it should be, if anything is.
func tellWrong(w io.Writer, saved explain.Saved, key string, answers []explain.Answer) error {
	problems, err := explain.Wrong(saved, key, answers, time.Now())
	if err != nil || len(problems) == 0 {
		return err
	}
	_, _ = fmt.Fprintf(w, "\nproblems: %d\n", len(problems))
	for _, p := range problems {
		_, _ = fmt.Fprintf(w, "  %s\n", p)
	}
	return errFaults
}

// serviceKey is namespace/name of a Service as a person names it.
func (c clusterFlags) serviceKey(namespace, name string) (string, error) {
	switch in, _, qualified := strings.Cut(name, "/"); {
	case qualified && namespace != "" && in != namespace:
		return "", usageError{fmt.Sprintf("explain: %s is not in the namespace %s", name, namespace)}
	case qualified:
		return name, nil
	case namespace != "":
		return namespace + "/" + name, nil
	case c.snapshot != "":
		return "default/" + name, nil
	}
	return kube.NamespaceOf(c.kubeconfig, c.context) + "/" + name, nil
}

func runSnapshot(ctx context.Context, std streams, args []string) error {
	var c clusterFlags
	f := newFlags("snapshot")
	c.into(f)
	rest, err := parseFlags(f, args)
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
	client, err := c.client(std)
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

const (
	// patience is how long an API server may take to list everything.
	patience = 30 * time.Second
	// firstAnswer is how long it may take for one object of each kind.
	firstAnswer = 3 * time.Second
)

// ask reads the cluster once, with the speakers' own informers.
func (c clusterFlags) ask(ctx context.Context, client *kube.Client) (explain.Saved, error) {
	const accepted = "herald-accepted"
	first, done := context.WithTimeout(ctx, firstAnswer)
	defer done()
	if err := client.MayRead(first, accepted); err != nil {
		return explain.Saved{}, err
	}
	w := kube.NewWatcher(client, kube.WatchOptions{Services: true, EndpointSlices: true, Nodes: true, Namespaces: true, ConfigMap: accepted})
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
			return explain.Saved{}, errors.Join(fmt.Errorf("the API server did not list the cluster within %s", patience), err)
		}
	}
}
