// Package contain runs one program as a container: with its own mount, process,
// IPC and host name namespaces, a root directory of its own, and only the
// rights that its pod asked for. It stands in for containerd and runc where the
// lab wants pods in milliseconds.
//
// A program that imports this package is started a second time as the
// container's first process; see init.go.
package contain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// Spec says what to run and what it may see and do. Paths in Target, Args and
// Dir are the container's, all others the machine's.
type Spec struct {
	Root     string  // required; an empty directory to build the root file system on
	Binary   string  // the image: one static program, found at /<its name>; "" with Userland
	Userland bool    // the machine's /usr and /bin, read-only, instead of an empty image
	NetNS    string  // path of a network namespace; "": the caller's
	Hostname string  // required
	Mounts   []Mount // volumes and single files, applied in order of their targets

	Args []string // required
	Env  []string
	Dir  string // "": /

	UID, GID     uint32
	Groups       []uint32
	Capabilities []string // upper limit of what the program can ever hold: "NET_ADMIN", ...
	Privileged   bool     // all capabilities, writable /proc/sys and /sys, the machine's /dev
	NoNewPrivs   bool
	ReadOnlyRoot bool
}

// Mount makes Source, a file or a directory, visible at Target.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Process is a started container.
type Process struct {
	Pid int
	cmd *exec.Cmd
}

// StartError tells that the container could be made but its program not run.
type StartError struct{ Text string }

func (e *StartError) Error() string { return e.Text }

const namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS

// Start runs the container with its output going to out, and returns when its
// program has been executed or has failed to be.
func Start(s Spec, out *os.File) (*Process, error) {
	specR, specW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer specW.Close()
	failR, failW, err := os.Pipe()
	if err != nil {
		specR.Close()
		return nil, err
	}
	defer failR.Close()

	cmd := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{initName},
		Env:        []string{},
		Stdout:     out,
		Stderr:     out,
		ExtraFiles: []*os.File{specR, failW},
		// A session of its own: signals to the lab's terminal are not the pod's.
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: namespaces, Setsid: true},
	}
	err = cmd.Start()
	specR.Close()
	failW.Close()
	if err != nil {
		return nil, fmt.Errorf("container process: %w", err)
	}
	return handOver(cmd, s, specW, failR)
}

// handOver gives the new process its specification and waits for the answer:
// silence and a closed pipe mean that exec closed it.
func handOver(cmd *exec.Cmd, s Spec, specW io.WriteCloser, failR io.Reader) (*Process, error) {
	sent := errors.Join(json.NewEncoder(specW).Encode(s), specW.Close())
	text, err := io.ReadAll(failR)
	if err := errors.Join(sent, err); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("container process %d: %w", cmd.Process.Pid, err)
	}
	if len(text) > 0 {
		_ = cmd.Wait()
		return nil, &StartError{Text: string(text)}
	}
	return &Process{Pid: cmd.Process.Pid, cmd: cmd}, nil
}

// Signal sends sig to the container's first process. When that process ends,
// the kernel ends all others of the container.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Wait blocks until the container ends and returns its exit code as a shell
// would give it (128 + signal), and the signal, or 0.
func (p *Process) Wait() (code, signal int) {
	_ = p.cmd.Wait()
	ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return 255, 0
	}
	if ws.Signaled() {
		return 128 + int(ws.Signal()), int(ws.Signal())
	}
	return ws.ExitStatus(), 0
}
