package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var logs atomic.Int64

// Process is a program that runs in the background until the end of the test.
type Process struct {
	Log    string // file that holds what it wrote
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts a program in the namespace.
func (n *Node) Start(name string, args ...string) *Process {
	n.lab.tb.Helper()
	return n.StartCommand(n.Command(name, args...))
}

// StartCommand starts a Command of this node that the caller has prepared, say
// with pipes. Standard error, and standard output unless it is set, go to Log.
func (n *Node) StartCommand(cmd *exec.Cmd) *Process {
	n.lab.tb.Helper()
	return StartProcess(n.lab.tb, cmd, filepath.Join(n.lab.dir, fmt.Sprintf("%s-%d.log", n.Name, logs.Add(1))))
}

// StartProcess is StartCommand for a program in no namespace of a Lab.
func StartProcess(tb testing.TB, cmd *exec.Cmd, log string) *Process {
	tb.Helper()
	p := &Process{Log: log, cmd: cmd, exited: make(chan struct{})}
	file, err := os.Create(p.Log)
	if err != nil {
		tb.Fatalf("netlab: %v", err)
	}
	defer func() { _ = file.Close() }() // the program has it open
	cmd.Stderr = file
	if cmd.Stdout == nil {
		cmd.Stdout = file
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("netlab: start %s: %v", cmd, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.exited)
	}()
	tb.Cleanup(p.Kill)
	return p
}

// PID is the process id; nsenter has replaced itself by the program.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Alive tells whether the program still runs.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Signal sends a signal, unless the program has ended.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill ends the program without warning and waits until it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	p.Wait(10 * time.Second)
}

// Failed tells whether the program has ended, and not well.
func (p *Process) Failed() bool { return !p.Alive() && !p.cmd.ProcessState.Success() }

// Wait waits for the end of the program, and tells whether it came in time.
func (p *Process) Wait(limit time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(limit):
		return false
	}
}
