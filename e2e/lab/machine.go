package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/heraldlb/herald/e2e/internal/machine"
)

// nodePart is the root of a node with a kubelet.
const nodePart = "node"

// Every node, as an element of Options.Kubelets.
const All = "all"

func (l *Lab) hasKubelet(node string) bool {
	return slices.Contains(l.opts.Kubelets, node) || slices.Contains(l.opts.Kubelets, All)
}

// kubeletNode is what only a real kubelet can do.
func (l *Lab) kubeletNode(name string) (Node, error) {
	n, err := l.poweredNode(name)
	if err == nil && !l.hasKubelet(name) {
		err = fmt.Errorf("node %s has no real kubelet; bring the lab up with -kubelet %s", name, name)
	}
	return n, err
}

// startMachines boots the nodes that have a kubelet. They need no API server yet, so
// both start at the same time.
func (l *Lab) startMachines(ctx context.Context) error {
	for _, n := range l.Nodes() {
		if l.hasKubelet(n.Name) {
			if err := l.startMachine(ctx, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// startMachine boots a node with containerd and a kubelet.
func (l *Lab) startMachine(ctx context.Context, n Node) error {
	part, err := partRoot(ctx, nodePart)
	if err != nil {
		return err
	}
	dir := l.path("nodes", n.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	config, err := json.Marshal(machine.Config{
		Node: n.Name, Dir: dir, Part: part, BinDir: l.opts.BinDir, LogDir: l.path("log"),
		Kubeconfig: l.path(nodeKubeconfig(n.Name)), CA: l.path("pki", "ca.crt"), Cgroup: l.cgroup(n.Name),
		Addrs: n.Addr4 + "," + n.Addr6, PodCIDR4: n.PodCIDR4, PodCIDR6: n.PodCIDR6,
		Labels: strings.Join(sortedPairs(l.opts.NodeLabels[n.Name]), ","), Heartbeat: l.opts.Heartbeat,
	})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "machine.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	return l.start(daemon{
		name: "machine-" + n.Name, ns: l.ns(n.Name), argv: []string{l.bin("lab"), "machine", file},
		clone: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS,
	})
}

// BootMachine is Boot of a node with a kubelet; the calling process becomes its first.
func BootMachine(file string) error { return machine.Boot(file) }

// PowerOffMachine is PowerOff of the machine that the calling process is in.
func PowerOffMachine() error { return machine.PowerOff() }

// cgroup is the name of a node's branch. Like those of namespaces it begins with
// what no other lab's does.
func (l *Lab) cgroup(node string) string { return l.ns(node) }

// givePodCIDRs writes the prefixes of pods into a Node, which a kubelet leaves to
// the cluster's operator.
func (l *Lab) givePodCIDRs(ctx context.Context, n Node) error {
	body := fmt.Appendf(nil, `{"spec":{"podCIDR":%q,"podCIDRs":[%[1]q,%q]}}`, n.PodCIDR4, n.PodCIDR6)
	_, err := l.API(ctx, "PATCH", "/api/v1/nodes/"+n.Name, body)
	return err
}

// ShutDown turns a node with a kubelet off in good order, as its operator does: the
// kubelet is told, ends the pods, and lets the machine go off. PowerOn boots it.
func (l *Lab) ShutDown(ctx context.Context, node string) error {
	n, err := l.kubeletNode(node)
	if err != nil {
		return err
	}
	first := l.state().Procs["machine-"+node]
	const login = "org.freedesktop.login1"
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(first.PID), "--mount", "--pid", "--",
		"/usr/bin/busctl", "call", login, "/org/freedesktop/login1", login+".Manager", "PowerOff", "b", "false")
	if _, err := output(cmd, ""); err != nil {
		return fmt.Errorf("node %s: shut down: %w", node, err)
	}
	err = waitFor(ctx, 2*time.Minute, "node "+node+" to shut down", func() error {
		if first.alive() {
			return errors.New("it still runs; see " + l.path("log", "kubelet-"+node+".log"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.switchOff(ctx, n)
}

// RestartKubelet ends the kubelet of a node as a crash does. Its machine starts
// another one after a second.
func (l *Lab) RestartKubelet(node string) error {
	if _, err := l.kubeletNode(node); err != nil {
		return err
	}
	return l.signalAgent(node, syscall.SIGKILL)
}

// OutOfMemory has the kernel end the containers of a pod, on a node with a kubelet,
// for want of memory. Those that the kubelet starts then are free again.
func (l *Lab) OutOfMemory(ctx context.Context, pod string) error {
	pids, err := l.PodPIDs(pod)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, pid := range pids {
		if err := machine.OutOfMemory(ctx, pid); err != nil {
			return fmt.Errorf("pod %s: %w", pod, err)
		}
	}
	return nil
}

// processOf finds a program of a node with a kubelet by its name.
func (l *Lab) processOf(node, program string) (proc, error) {
	first := l.state().Procs["machine-"+node]
	if !first.alive() {
		return proc{}, fmt.Errorf("node %s does not run; see %s", node, l.path("log", "machine-"+node+".log"))
	}
	// Each thread has children of its own.
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", first.PID))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for f := range strings.FieldsSeq(string(b)) {
			comm, _ := os.ReadFile("/proc/" + f + "/comm")
			if strings.TrimSpace(string(comm)) == program {
				pid, err := strconv.Atoi(f)
				return proc{PID: pid, Start: startTime(pid)}, err
			}
		}
	}
	return proc{}, fmt.Errorf("node %s: no %s runs; see %s", node, program, l.path("log", program+"-"+node+".log"))
}

// machinePod finds the processes of a pod on nodes with a kubelet: the one that
// holds its namespaces, and the first of each container.
func (l *Lab) machinePod(pod string) (pause int, firsts []int, err error) {
	ns, name := splitPod(pod)
	// The kubelet keeps the logs there; a pod of this name that has ended may have
	// left some, too.
	dirs, _ := filepath.Glob(l.path("nodes", "*", "upper", "var", "log", "pods", ns+"_"+name+"_*"))
	var errs []error
	for _, d := range dirs {
		uid := d[strings.LastIndexByte(d, '_')+1:]
		node := strings.SplitN(strings.TrimPrefix(d, l.path("nodes")+"/"), "/", 2)[0]
		pids, err := machine.PodPIDs(l.cgroup(node), uid)
		errs = append(errs, err)
		for _, pid := range pids {
			switch exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); {
			case exe == "/pause":
				pause = pid
			case isFirst(pid):
				firsts = append(firsts, pid)
			}
		}
	}
	if pause == 0 {
		return 0, nil, errors.Join(append(errs, fmt.Errorf("pod %s/%s: no node runs it", ns, name))...)
	}
	return pause, firsts, nil
}

// isFirst tells whether a process is the first of its namespace.
func isFirst(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "NSpid:" {
			return f[len(f)-1] == "1"
		}
	}
	return false
}
