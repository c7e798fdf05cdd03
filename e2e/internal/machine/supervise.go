package machine

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A supervisor starts programs, starts again what has ended, as systemd does with
// a real node's containerd and kubelet, and waits for every process that lost its
// parent, as the first process of a machine must.
type supervisor struct {
	logs map[string]*os.File
	env  []string

	mu    sync.Mutex
	ended map[int]chan syscall.WaitStatus
}

func newSupervisor(logs map[string]*os.File) *supervisor {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "SYSTEMD_LOG_TARGET=console"}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "HERALD_LAB_") { // by which the lab knows its processes
			env = append(env, e)
		}
	}
	return &supervisor{logs: logs, env: env, ended: map[int]chan syscall.WaitStatus{}}
}

// bootWithin is for each program that others wait for.
const bootWithin = 30 * time.Second

// run returns when the machine is told to go off, or cannot boot.
func (s *supervisor) run(c Config) error {
	off := make(chan os.Signal, 1)
	signal.Notify(off, syscall.SIGTERM, syscall.SIGPWR)
	failed := make(chan error, 1)
	go s.reap()
	go func() {
		if err := s.boot(c); err != nil {
			failed <- err
		}
	}()
	select {
	case <-off:
		return nil
	case err := <-failed:
		return err
	}
}

func (s *supervisor) boot(c Config) error {
	go s.keep("containerd", "/usr/bin/containerd")
	go s.keep("dbus", "/usr/bin/dbus-daemon", "--config-file=/etc/dbus.conf", "--nofork", "--nopidfile")
	if err := waitSocket(busSocket, bootWithin); err != nil {
		return err
	}
	go s.keep("elogind", "/usr/lib/elogind/elogind")
	if err := waitSocket(socket, bootWithin); err != nil {
		return err
	}
	if err := s.importImages(); err != nil {
		return err
	}
	if err := s.waitLogin(bootWithin); err != nil {
		return err
	}
	argv := []string{
		programs + "/kubelet", "--config=" + kubeletConfig, "--kubeconfig=" + kubeconfig,
		"--hostname-override=" + c.Node, "--node-ip=" + c.Addrs,
	}
	if c.Labels != "" {
		argv = append(argv, "--node-labels="+c.Labels)
	}
	go s.keep("kubelet", argv...)
	return nil
}

// waitLogin waits until elogind answers: a kubelet that finds none when it starts
// does not look again.
func (s *supervisor) waitLogin(atMost time.Duration) error {
	for end := time.Now().Add(atMost); ; time.Sleep(50 * time.Millisecond) {
		status, err := s.once("dbus", "/usr/bin/busctl", "--quiet", "get-property",
			"org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "InhibitDelayMaxUSec")
		if err != nil || status == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("wait %v for elogind; see its log", atMost)
		}
	}
}

// importImages gives containerd every archive that there is. It knows those that
// it has had already.
func (s *supervisor) importImages() error {
	archives, err := filepath.Glob(programs + "/images/*.tar")
	if err != nil {
		return err
	}
	for _, a := range archives {
		status, err := s.once("containerd", "/usr/bin/ctr", "-n", "k8s.io", "images", "import", a)
		if err != nil {
			return err
		}
		if status != 0 {
			return fmt.Errorf("import the image %s: ctr ended with status %d; see the log of containerd", a, status.ExitStatus())
		}
	}
	return nil
}

// restartDelay is how long a program stays away.
const restartDelay = time.Second

// keep has a program run for ever.
func (s *supervisor) keep(log string, argv ...string) {
	for {
		if status, err := s.once(log, argv...); err != nil {
			fmt.Fprintf(s.logs[log], "start %s: %v\n", argv[0], err)
		} else {
			fmt.Fprintf(s.logs[log], "%s ended with status %#x\n", argv[0], int(status))
		}
		time.Sleep(restartDelay)
	}
}

// once runs a program and waits for its end.
func (s *supervisor) once(log string, argv ...string) (syscall.WaitStatus, error) {
	out := s.logs[log].Fd()
	s.mu.Lock()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env:   s.env,
		Files: []uintptr{0, out, out},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		s.mu.Unlock()
		return 0, fmt.Errorf("start %s: %w", argv[0], err)
	}
	end := make(chan syscall.WaitStatus, 1)
	s.ended[pid] = end
	s.mu.Unlock()
	return <-end, nil
}

// reap waits for every child, and tells whoever started it.
func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err != nil { // there is none at the moment
			time.Sleep(20 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		if end, ok := s.ended[pid]; ok {
			end <- status
			delete(s.ended, pid)
		}
		s.mu.Unlock()
	}
}

func waitSocket(path string, atMost time.Duration) error {
	for end := time.Now().Add(atMost); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("wait %v for %s: %w", atMost, path, err)
		}
	}
}
