package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Up brings a lab up and returns when its nodes are ready and its Services
// work. If that fails it leaves the pieces for a look; Down removes them.
func Up(ctx context.Context, o Options) (*Lab, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: only root may make network namespaces")
	}
	if err := checkPrograms(o); err != nil {
		return nil, err
	}
	if err := errors.Join(checkRouter(ctx, o.Router), Part(ctx, o.Router)); err != nil {
		return nil, fmt.Errorf("lab %s: %w", o.Name, err)
	}
	if len(o.Kubelets) > 0 {
		if err := Part(ctx, nodePart); err != nil {
			return nil, fmt.Errorf("lab %s: %w", o.Name, err)
		}
	}
	l := &Lab{opts: o, dir: filepath.Join(o.BaseDir, o.Name), log: o.Log, at: time.Now()}
	unlock, err := l.claim()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := l.up(ctx); err != nil {
		return nil, fmt.Errorf("lab %s: %w", o.Name, err)
	}
	return l, nil
}

// ErrExists is why Up refuses a name that is in use.
var ErrExists = errors.New("there is one already, or what is left of it: take it down first")

// claim makes the lab's directory, and holds it against a down meanwhile.
func (l *Lab) claim() (unlock func(), err error) {
	if left := namespaces(nsPrefix(l.opts.Name)); len(left) > 0 {
		return nil, fmt.Errorf("lab %s: namespace %s: %w", l.opts.Name, left[0], ErrExists)
	}
	if err := os.MkdirAll(filepath.Dir(l.dir), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(l.dir, 0o755); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("lab %s: directory %s: %w", l.opts.Name, l.dir, ErrExists)
	} else if err != nil {
		return nil, err
	}
	return lock(l.dir, time.Second)
}

// checkPrograms says early what would fail late.
func checkPrograms(o Options) error {
	programs := []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl", "lab", "nodelet",
	}
	if len(o.Kubelets) > 0 {
		programs = append(programs, "kubelet", "images/pause.tar")
	}
	for _, p := range programs {
		if _, err := os.Stat(filepath.Join(o.BinDir, p)); err != nil {
			return fmt.Errorf("lab: program %s is missing; build it with `lab build`: %w", p, err)
		}
	}
	return nil
}

func (l *Lab) up(ctx context.Context) error {
	for _, dir := range []string{"log", "pki", "nodes"} {
		if err := os.Mkdir(l.path(dir), 0o755); err != nil {
			return err
		}
	}
	ln, err := l.listen()
	if err != nil {
		return err
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	if err := l.update(func(s *state) { s.Options, s.APIPort = l.opts, port }); err != nil {
		return err
	}
	if err := l.steps(ctx, ln, port); err != nil {
		return err
	}
	return l.update(func(s *state) { s.Ready = true })
}

func (l *Lab) steps(ctx context.Context, ln *net.TCPListener, port int) error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"keys and certificates", func() error { return l.makePKI(port) }},
		{"namespaces and links", func() error { return l.makeNetwork(ctx) }},
		{"etcd and the API server started", func() error {
			return errors.Join(l.startEtcd(), l.StartAPIServer(), l.startRelay(ln))
		}},
		{"router", func() error { return l.startRouter(ctx) }},
		{"nodes' namespaces and links", func() error { return errors.Join(l.makeNodes(ctx), l.startMachines(ctx)) }},
		{"API server ready", func() error { return l.WaitAPI(ctx) }},
		{"controllers and scheduler started", l.startControllers},
		{"nodes ready, kube-proxy has its rules", func() error { return l.bootNodes(ctx, l.Nodes()) }},
		{"service accounts", func() error { return l.waitControllers(ctx) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		l.say(s.name)
	}
	return nil
}

func (l *Lab) makeNodes(ctx context.Context) error {
	for _, n := range l.Nodes() {
		if err := l.makeNode(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) say(step string) {
	fmt.Fprintf(l.log, "%6.1fs  %s\n", time.Since(l.at).Seconds(), step)
}
