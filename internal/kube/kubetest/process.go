package kubetest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

var errNoBinary = errors.New("no Kubernetes binary: build e2e/bin/kube (in e2e: go build -o bin/kube ./cmd/kube) or set HERALD_KUBE_BIN")

// findBinary finds the multi-call binary of e2e/cmd/kube.
func findBinary() (string, error) {
	if path := os.Getenv("HERALD_KUBE_BIN"); path != "" {
		return path, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "e2e", "bin", "kube")
	if _, err := os.Stat(path); err != nil {
		return "", errNoBinary
	}
	return path, nil
}

// Root is the repository's root: the directory above that has a manifests
// directory beside its go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
	}
}

// Process is a child that dies with this process, however that ends.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// Spawn starts a program whose output goes to the end of a file. env is added to
// this process's own.
func Spawn(logFile string, env []string, name string, args ...string) (*Process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The death signal is of the thread that starts the child, not of the
		// process: keep that thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer func() { _ = out.Close() }()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in its log
		}
	}()
	return p, <-started
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal, to a process that may have ended already.
func (p *Process) Signal(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig)
}

// stopped tells whether SIGSTOP has reached all threads.
func (p *Process) stopped() bool {
	stats, err := filepath.Glob("/proc/" + strconv.Itoa(p.Pid()) + "/task/*/stat")
	if err != nil || len(stats) == 0 {
		return false
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		// The state follows the name, which is in parentheses and may hold anything.
		if i := strings.LastIndexByte(string(b), ')'); err != nil || i < 0 || !strings.HasPrefix(string(b[i:]), ") T") {
			return false
		}
	}
	return true
}

// Kill ends the process without asking, and returns when it is gone.
func (p *Process) Kill() {
	if p == nil || p.cmd.Process == nil {
		return
	}
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// makeDir makes a directory that bears our pid, and removes those of test
// binaries that died before they could.
func makeDir() (string, error) {
	const prefix = "herald-kubetest-"
	left, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return "", err
	}
	for _, dir := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir)
		}
	}
	return os.MkdirTemp("", prefix+strconv.Itoa(os.Getpid())+"-")
}

// Pid is the child's number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }
