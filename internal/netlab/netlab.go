// Package netlab builds small networks for tests: network namespaces, links
// between them, processes and real routers inside them. It needs root and
// iproute2, and touches nothing outside the namespaces that it makes.
//
// Names carry the process id of their maker, so test binaries may run side by
// side, and a later run removes what a killed one left behind.
package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// prefix starts the name of each namespace and directory that a Lab makes:
// prefix-pid-number-name.
const prefix = "herald"

var (
	stale    = regexp.MustCompile(`^` + prefix + `-(\d+)-`)
	reapOnce sync.Once
	count    atomic.Int64
)

// Lab is a network for the time of one test.
type Lab struct {
	tb   testing.TB
	dir  string
	name string
}

// New makes an empty Lab that is torn down at the end of the test. Without the
// privilege that it needs it skips the test, or fails it where CI is "true".
func New(tb testing.TB) *Lab {
	tb.Helper()
	Require(tb)
	reapOnce.Do(Reap)
	l := &Lab{tb: tb, name: fmt.Sprintf("%s-%d-%d", prefix, os.Getpid(), count.Add(1))}
	l.dir = filepath.Join(os.TempDir(), l.name)
	// Routers drop their privilege, so others must be able to enter.
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		tb.Fatalf("netlab: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(l.dir) })
	return l
}

// Require skips the test where namespaces cannot be made, or fails it where CI is
// "true".
func Require(tb testing.TB) {
	tb.Helper()
	err := Available()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		tb.Fatalf("netlab: %v", err)
	default:
		tb.Skipf("netlab: %v", err)
	}
}

// Available tells why namespaces cannot be made here.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("no ip command: install iproute2")
	}
	if err := exec.Command("unshare", "--net", "true").Run(); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	return nil
}

// Reap removes the namespaces and directories of dead test processes, and kills
// what still runs in them.
func Reap() {
	for _, dir := range []string{"/run/netns", os.TempDir()} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			m := stale.FindStringSubmatch(e.Name())
			if m == nil || alive(m[1]) {
				continue
			}
			if dir == "/run/netns" {
				deleteNamespace(e.Name())
			} else {
				_ = os.RemoveAll(filepath.Join(dir, e.Name()))
			}
		}
	}
}

func alive(pid string) bool {
	_, err := os.Stat("/proc/" + pid)
	return err == nil
}

// deleteNamespace does what it can: a namespace that stays is reaped later. It
// spares this process, which counts as inside if Inside ran on its main thread: Go
// cannot end that thread, and parks it there.
func deleteNamespace(name string) {
	out, _ := exec.Command("ip", "netns", "pids", name).Output()
	for _, field := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = exec.Command("ip", "netns", "delete", name).Run()
}

// run runs a command to its end and returns what it wrote.
func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
