// Package nodelet is the lab's stand-in for the kubelet: it registers a node,
// keeps its heartbeat, and runs the pods that are bound to it as processes in
// namespaces of their own. What a manifest asks for (rights, volumes, probes,
// restarts, graceful deletion) is honoured or refused as a real node would,
// so that a manifest that fails on a cluster fails here too. Images are static
// binaries in a directory; there is no registry, no cgroup and no exec.
package nodelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/heraldlb/herald/e2e/internal/podnet"
)

// Options describe one node. All are required but Labels, Heartbeat,
// Log and Disconnect.
type Options struct {
	Node      string
	Client    kubernetes.Interface
	RunDir    string   // state, volumes and logs; this node's alone
	BinDirs   []string // where images are found, first match
	Net       podnet.Options
	Addrs     []netip.Addr // the node's own, one or two
	Labels    map[string]string
	Heartbeat time.Duration // zero: 2s
	Log       *slog.Logger  // nil: discard
	// Disconnect closes the client's connections. After a cut they would only
	// come back with TCP's next, ever later, repetition. Nil: they stay.
	Disconnect func()
}

// Agent is the node.
type Agent struct {
	Options
	net    *podnet.Network
	events record.EventRecorder

	mu      sync.Mutex
	workers map[types.UID]*worker

	serviceEnvOnce sync.Mutex
	serviceEnv     []corev1.EnvVar
}

// New checks the options and starts nothing.
func New(o Options) (*Agent, error) {
	if o.Node == "" || o.Client == nil || o.RunDir == "" || len(o.BinDirs) == 0 || len(o.Addrs) == 0 {
		return nil, errors.New("nodelet: node, client, run directory, image directories and addresses are required")
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Disconnect == nil {
		o.Disconnect = func() {}
	}
	n, err := podnet.New(o.Net)
	if err != nil {
		return nil, err
	}
	return &Agent{Options: o, net: n, workers: map[types.UID]*worker{}}, nil
}

// Run is the node until ctx ends; it then stops its pods, and removes what it
// made on the machine. The Node object and its pods stay in the API.
func (a *Agent) Run(ctx context.Context) error {
	unlock, err := lockDir(a.RunDir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.reap(ctx); err != nil {
		return fmt.Errorf("reap what an earlier run left: %w", err)
	}
	logs, err := a.listenLogs()
	if err != nil {
		return err
	}
	stopEvents := a.startEvents()
	defer stopEvents()
	if err := a.register(ctx); err != nil {
		return err
	}
	a.Log.Info("node registered")

	var parts sync.WaitGroup
	parts.Go(func() { a.beat(ctx) })
	parts.Go(func() { a.serveLogs(ctx, logs) })
	parts.Go(func() { a.watchPods(ctx) })
	parts.Wait()
	a.waitWorkers()
	return nil
}

func (a *Agent) startEvents() (stop func()) {
	b := record.NewBroadcaster()
	b.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: a.Client.CoreV1().Events("")})
	a.events = b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "nodelet", Host: a.Node})
	return b.Shutdown
}

func (a *Agent) waitWorkers() {
	a.mu.Lock()
	var all []*worker
	for _, w := range a.workers {
		all = append(all, w)
	}
	a.mu.Unlock()
	for _, w := range all {
		<-w.done
	}
}

// find returns the worker of a pod by name.
func (a *Agent) find(namespace, name string) (*worker, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		if w.namespace == namespace && w.name == name {
			return w, true
		}
	}
	return nil, false
}

func (a *Agent) podsDir() string { return filepath.Join(a.RunDir, "pods") }
func (a *Agent) logsDir() string { return filepath.Join(a.RunDir, "logs") }
func (a *Agent) diskDir() string { return filepath.Join(a.RunDir, "disk") }

// image finds the file that an image's name stands for.
func (a *Agent) image(name string) (image, error) {
	base := imageBase(name)
	if base == userlandImage {
		return image{userland: true}, nil
	}
	for _, dir := range a.BinDirs {
		file := filepath.Join(dir, base)
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
			return image{binary: file}, nil
		}
	}
	return image{}, fmt.Errorf("image %s: no file %s in %v", name, base, a.BinDirs)
}
