package lab

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/heraldlb/herald/e2e/internal/machine"
)

const (
	silent  = "silent"
	carrier = "carrier"
)

// Cut makes a node's link lose every packet, both ways, while both ends still
// see a carrier: a broken switch. Nobody is told.
func (l *Lab) Cut(ctx context.Context, node string) error {
	return l.cut(node, silent, func() error { return l.portState(ctx, node, "disabled") })
}

// CutCarrier pulls a node's cable: the node sees it, others behind the switch
// do not.
func (l *Lab) CutCarrier(ctx context.Context, node string) error {
	return l.cut(node, carrier, func() error { return ip(ctx, l.ns(lan), "link set "+node+" down") })
}

func (l *Lab) cut(node, kind string, do func() error) error {
	if _, err := l.poweredNode(node); err != nil {
		return err
	}
	switch was := l.state().Cut[node]; was {
	case kind:
		return nil
	case "":
	default:
		return fmt.Errorf("node %s: its link is cut in another way (%s); restore it first", node, was)
	}
	if err := do(); err != nil {
		return err
	}
	return l.update(func(s *state) { s.Cut[node] = kind })
}

// Restore ends what Cut and CutCarrier did.
func (l *Lab) Restore(ctx context.Context, node string) error {
	if _, err := l.poweredNode(node); err != nil {
		return err
	}
	if err := ip(ctx, l.ns(lan), "link set "+node+" up"); err != nil {
		return err
	}
	// A port takes no state before its carrier is noticed, which may last a second.
	err := waitFor(ctx, 5*time.Second, "the link of "+node, func() error { return l.portState(ctx, node, "forwarding") })
	if err != nil {
		return err
	}
	return l.update(func(s *state) { delete(s.Cut, node) })
}

// portState sets the state of a port of the switch. Without a spanning tree
// protocol the kernel leaves it as it is.
func (l *Lab) portState(ctx context.Context, port, state string) error {
	_, err := run(ctx, "", "bridge", "-n", l.ns(lan), "link", "set", "dev", port, "state", state)
	return err
}

// PowerOff ends a node as a pulled plug does: first its link is silent, so that
// no reset or withdrawal of a dying process gets out, then every process is
// gone, and with it all that the node's kernel knew.
func (l *Lab) PowerOff(ctx context.Context, node string) error {
	n, err := l.poweredNode(node)
	if err != nil {
		return err
	}
	if err := l.portState(ctx, n.Name, "disabled"); err != nil {
		return err
	}
	return l.switchOff(ctx, n)
}

// switchOff ends what a node was.
func (l *Lab) switchOff(ctx context.Context, n Node) error {
	node := n.Name
	if err := l.update(func(s *state) { s.Off[node] = true; delete(s.Cut, node) }); err != nil {
		return err
	}
	names := append(namespaces(l.podPrefix(node)+"-"), l.ns(node))
	if err := removeNamespaces(ctx, names); err != nil {
		return fmt.Errorf("node %s: power off: %w", node, err)
	}
	if err := machine.RemoveCgroups(l.cgroup(node)); err != nil {
		return fmt.Errorf("node %s: power off: %w", node, err)
	}
	// The kernel removes the link too, but later than a quick PowerOn.
	if err := ip(ctx, l.ns(lan), "link del "+n.Name); err != nil && l.hasPort(ctx, n.Name) {
		return err
	}
	return nil
}

// hasPort tells whether a switch has a port of that name.
func (l *Lab) hasPort(ctx context.Context, name string) bool {
	_, err := run(ctx, "", "ip", "-n", l.ns(lan), "link", "show", name)
	return err == nil
}

// removeNamespaces kills all that lives in namespaces and removes them.
func removeNamespaces(ctx context.Context, names []string) error {
	inodes := netnsInodes(names)
	if err := killAll(inodes, ""); err != nil {
		return err
	}
	for _, n := range names {
		if !slices.Contains(namespaces(n), n) {
			continue
		}
		if _, err := run(ctx, "", "ip", "netns", "del", n); err != nil {
			return err
		}
	}
	// Whoever was on the way in when we looked is in now, and nobody can follow.
	return killAll(inodes, "")
}

// PowerOn boots a node: an empty kernel, the node's programs, and the pods that
// the API still has for it. It waits until the node is ready.
func (l *Lab) PowerOn(ctx context.Context, node string) error {
	n, err := l.Node(node)
	if err != nil {
		return err
	}
	if !l.state().Off[node] {
		return fmt.Errorf("node %s has power", node)
	}
	// The disk of a machine is still there; the stand-in writes nothing that lasts.
	if !l.hasKubelet(node) {
		if err := os.RemoveAll(l.path("nodes", node)); err != nil {
			return err
		}
	}
	if err := l.makeNode(ctx, n); err != nil {
		return err
	}
	if err := l.update(func(s *state) { delete(s.Off, node) }); err != nil {
		return err
	}
	return l.bootNodes(ctx, []Node{n})
}

// StopHeartbeat freezes a node's kubelet or nodelet, as if it hung: no lease, no
// status, no probes, but its pods go on.
func (l *Lab) StopHeartbeat(node string) error { return l.signalAgent(node, syscall.SIGSTOP) }

// ResumeHeartbeat ends what StopHeartbeat did.
func (l *Lab) ResumeHeartbeat(node string) error { return l.signalAgent(node, syscall.SIGCONT) }

func (l *Lab) signalAgent(node string, sig syscall.Signal) error {
	if _, err := l.poweredNode(node); err != nil {
		return err
	}
	if !l.hasKubelet(node) {
		return l.signal("nodelet-"+node, sig)
	}
	p, err := l.processOf(node, "kubelet")
	if err != nil {
		return err
	}
	return syscall.Kill(p.PID, sig)
}
