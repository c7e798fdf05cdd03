package dataplane

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

// flushConntrack has the kernel forget all connections of this namespace.
func flushConntrack() error {
	if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("flush conntrack: %w", err)
	}
	return nil
}

// withoutRights runs f in a node's namespace on a thread that has no capability.
// The thread is not used again.
func withoutRights(n *netlab.Node, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and not given back
		err := n.Enter()
		if err == nil {
			none := make([]unix.CapUserData, 2)
			err = unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}
