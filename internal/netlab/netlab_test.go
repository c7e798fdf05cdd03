package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNodesReachEachOther(t *testing.T) {
	l := New(t)
	sw, a, b, c := l.Switch("sw"), l.Node("a"), l.Node("b"), l.Node("c")
	sw.Attach(a, "eth0", "10.1.0.1/24", "fd01::1/64")
	sw.Attach(b, "eth0", "10.1.0.2/24", "fd01::2/64")
	l.Pair(b, "eth1", c, "eth0")
	b.Addr("eth1", "10.2.0.2/24")
	c.Addr("eth0", "10.2.0.3/24")
	a.Run("ip", "route", "add", "10.2.0.0/24", "via", "10.1.0.2")
	c.Run("ip", "route", "add", "default", "via", "10.2.0.2")
	// A port where nobody listens: who refuses is there.
	for _, addr := range []string{"10.1.0.2", "fd01::2", "10.2.0.3"} {
		if out, _ := a.Try("bash", "-c", "exec 3<>/dev/tcp/"+addr+"/9"); !strings.Contains(out, "Connection refused") {
			t.Errorf("%s: %s", addr, out)
		}
	}
	if out, _ := a.Try("timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/10.1.0.9/9"); strings.Contains(out, "refused") {
		t.Errorf("an address that nobody has answers: %s", out)
	}
}

func TestProcessEndsWithTheTest(t *testing.T) {
	var p *Process
	t.Run("starts it", func(t *testing.T) {
		n := New(t).Node("n")
		p = n.Start("sh", "-c", "echo here; sleep 1000")
		Eventually(t, 5*time.Second, func() string {
			if b, _ := os.ReadFile(p.Log); string(b) != "here\n" {
				return "nothing is written"
			}
			return ""
		})
		if !p.Alive() {
			t.Error("it has ended")
		}
	})
	if p != nil && p.Alive() {
		t.Error("it is still there")
	}
}

// TestTheMainThreadMayEnter has threads enter a namespace until the main one is
// among them, by which `ip netns pids` judges where a process is. The end of the
// namespace must not be that of the process, which is another one than this: its
// main thread is lost for good.
func TestTheMainThreadMayEnter(t *testing.T) {
	const there = "HERALD_TEST_MAIN_THREAD"
	if os.Getenv(there) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTheMainThreadMayEnter$")
		cmd.Env = append(os.Environ(), there+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	t.Run("until its end", func(t *testing.T) {
		n := New(t).Node("n")
		var main atomic.Bool
		var all sync.WaitGroup
		enough := make(chan struct{})
		for range 64 {
			all.Add(1)
			go func() {
				defer all.Done()
				runtime.LockOSThread() // and not given back
				if unix.Gettid() == os.Getpid() {
					main.Store(true)
					if err := n.Enter(); err != nil {
						t.Error(err)
					}
				}
				<-enough
			}()
		}
		Eventually(t, 5*time.Second, func() string {
			if out, _ := run("ip", "netns", "pids", n.NS); strings.TrimSpace(out) != strconv.Itoa(os.Getpid()) {
				return fmt.Sprintf("inside is %q; on the main thread: %v", out, main.Load())
			}
			return ""
		})
		close(enough)
		all.Wait()
	})
}

// TestReapRemovesWhatTheDeadLeft takes the name of a process that has ended.
func TestReapRemovesWhatTheDeadLeft(t *testing.T) {
	mine := New(t).Node("mine")
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	name := strings.Replace(mine.NS, strings.Split(mine.NS, "-")[1], strconv.Itoa(dead.ProcessState.Pid()), 1)
	if _, err := run("ip", "netns", "add", name); err != nil {
		t.Fatal(err)
	}
	inside := StartProcess(t, exec.Command("nsenter", "--net=/run/netns/"+name, "--", "sleep", "1000"), filepath.Join(t.TempDir(), "log"))
	// It counts as inside only after nsenter has entered.
	Eventually(t, 5*time.Second, func() string {
		if out, _ := run("ip", "netns", "pids", name); strings.TrimSpace(out) == "" {
			return "nobody is inside"
		}
		return ""
	})
	Reap()
	if _, err := os.Stat("/run/netns/" + name); err == nil {
		t.Error("the namespace is still there")
	}
	if !inside.Wait(5 * time.Second) {
		t.Error("the process in it is still there")
	}
	if _, err := os.Stat("/run/netns/" + mine.NS); err != nil {
		t.Error("the namespace of a living process is gone")
	}
}
