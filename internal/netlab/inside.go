package netlab

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Inside runs f in the namespace and waits for it. What f starts in other
// goroutines is outside.
func (n *Node) Inside(tb testing.TB, f func()) {
	tb.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and not given back
		err := n.Enter()
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
}

// Enter brings this thread into the namespace for good. The caller has locked it.
func (n *Node) Enter() error {
	f, err := os.Open(filepath.Join("/run/netns", n.NS))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}
