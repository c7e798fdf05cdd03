package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A proc is a process that we started. Its start time tells it from another
// that was given the same number later.
type proc struct {
	PID   int
	Start string
}

// A daemon is how to start one of the lab's programs.
type daemon struct {
	name  string // of the log and in the state
	ns    string // namespace, in full
	argv  []string
	env   []string
	extra []*os.File
	clone uintptr // new namespaces, of which it is the first process
}

// start starts a daemon that outlives us, and remembers it.
func (l *Lab) start(d daemon) error {
	logFile, err := os.OpenFile(l.path("log", d.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	defer logFile.Close()
	cmd := l.command(context.Background(), d.ns, d.argv...)
	cmd.Env = append(cmd.Env, d.env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = d.extra
	cmd.Dir = l.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: d.clone}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	p := proc{PID: cmd.Process.Pid, Start: startTime(cmd.Process.Pid)}
	go func() { _ = cmd.Wait() }() // reap it, if we live that long
	return l.update(func(s *state) { s.Procs[d.name] = p })
}

// startTime is field 22 of the process's stat: empty if it is gone or a zombie.
func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is a name in parentheses, and may hold anything.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return ""
	}
	return f[19]
}

func (p proc) alive() bool { return p.PID > 0 && p.Start != "" && startTime(p.PID) == p.Start }

// signal sends a signal to a daemon by its name in the state.
func (l *Lab) signal(name string, sig syscall.Signal) error {
	p := l.state().Procs[name]
	if !p.alive() {
		return fmt.Errorf("%s of lab %s: not running; see %s", name, l.opts.Name, l.path("log", name+".log"))
	}
	if err := syscall.Kill(p.PID, sig); err != nil {
		return fmt.Errorf("%s: send %v to process %d: %w", name, sig, p.PID, err)
	}
	return nil
}

// kill ends a daemon at once and waits until it is gone.
func (l *Lab) kill(name string) error {
	p := l.state().Procs[name]
	if err := l.signal(name, syscall.SIGKILL); err != nil {
		return err
	}
	return waitFor(context.Background(), 10*time.Second, name+" to end", func() error {
		if p.alive() {
			return fmt.Errorf("process %d is still there", p.PID)
		}
		return nil
	})
}

// pidsIn returns the processes whose main thread is in one of the namespaces,
// given by inode, or whose environment has the mark. We are never among them.
func pidsIn(inodes map[string]bool, mark string) []int {
	var pids []int
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range procs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() || startTime(pid) == "" {
			continue
		}
		link, _ := os.Readlink(dir + "/ns/net")
		if inodes[link] || mark != "" && hasEnv(dir, mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func hasEnv(procDir, mark string) bool {
	b, _ := os.ReadFile(procDir + "/environ")
	for _, e := range bytes.Split(b, []byte{0}) {
		if string(e) == mark {
			return true
		}
	}
	return false
}

// netnsInodes returns the namespaces in the form that /proc/PID/ns/net has.
func netnsInodes(names []string) map[string]bool {
	inodes := map[string]bool{}
	for _, n := range names {
		st, err := os.Stat(filepath.Join(netnsDir, n))
		if err != nil {
			continue
		}
		inodes[fmt.Sprintf("net:[%d]", st.Sys().(*syscall.Stat_t).Ino)] = true
	}
	return inodes
}

// namespaces returns the network namespaces whose name begins with prefix.
func namespaces(prefix string) []string {
	entries, err := os.ReadDir(netnsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// killAll kills until nothing is left, since a parent may fork meanwhile.
func killAll(inodes map[string]bool, mark string) error {
	end := time.Now().Add(10 * time.Second)
	for {
		pids := pidsIn(inodes, mark)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// waitFor asks until there is no error, and returns the last one after a while.
func waitFor(ctx context.Context, atMost time.Duration, what string, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait %v for %s: %w", atMost, what, err)
		case <-time.After(25 * time.Millisecond):
		}
	}
}
