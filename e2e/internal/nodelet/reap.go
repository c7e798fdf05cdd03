package nodelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lockDir keeps a second agent away from a run directory.
func lockDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("run directory %s: in use: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// Record is what the file pods/<uid>/pod.json says, for whoever wants to look
// into a pod from outside.
type Record struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	UID       string   `json:"uid"`
	NetNS     string   `json:"netns"` // "": the node's
	Addrs     []string `json:"addrs"`
}

func (w *worker) writeRecord() error {
	r := Record{Namespace: w.namespace, Name: w.name, UID: string(w.uid)}
	if n := w.net.Load(); n != nil {
		r.NetNS = n.Name
	}
	for _, a := range w.addrs() {
		r.Addrs = append(r.Addrs, a.String())
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "pod.json"), append(text, '\n'), 0o644)
}

const pidSuffix = ".pid"

// recordPid remembers a running container for a later run of this node, should
// this one be killed. Pids are used again, so the start time goes with it.
func (c *container) recordPid(pid int) (forget func()) {
	file := filepath.Join(c.w.dir, c.spec.Name+pidSuffix)
	text := fmt.Sprintf("%d %s\n", pid, startTime(pid))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		c.w.agent.Log.Warn("pid not recorded", "pod", c.w.name, "err", err)
	}
	return func() { _ = os.Remove(file) }
}

// startTime is the process's in clock ticks since boot, "" if it is gone.
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// reap removes what an earlier run has left: its containers first, for they
// hold the rest.
func (a *Agent) reap(ctx context.Context) error {
	pidFiles, err := filepath.Glob(filepath.Join(a.podsDir(), "*", "*"+pidSuffix))
	if err != nil {
		return err
	}
	for _, f := range pidFiles {
		if err := reapProcess(f); err != nil {
			return err
		}
	}
	left, err := a.net.Leftovers()
	if err != nil {
		return err
	}
	for _, p := range left {
		if err := a.net.Remove(ctx, p); err != nil {
			return err
		}
	}
	return os.RemoveAll(a.podsDir())
}

func reapProcess(pidFile string) error {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, started, ok := parsePid(string(text))
	if !ok {
		return nil // cut off while it was being written
	}
	for range 100 {
		if startTime(pid) != started {
			return nil
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("process %d does not end", pid)
}

func parsePid(text string) (pid int, started string, ok bool) {
	word, started, _ := strings.Cut(strings.TrimSpace(text), " ")
	pid, err := strconv.Atoi(word)
	return pid, started, err == nil && pid > 1 && started != ""
}
