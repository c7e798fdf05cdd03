package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/heraldlb/herald/e2e/internal/machine"
)

// nodePart is the root of a node with a kubelet.
const nodePart = "node"

// Every node, as an element of Options.Kubelets.
const All = "all"

func (l *Lab) hasKubelet(node string) bool {
	return slices.Contains(l.opts.Kubelets, node) || slices.Contains(l.opts.Kubelets, All)
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

// processOf finds a program of a node with a kubelet by its name.
func (l *Lab) processOf(node, program string) (proc, error) {
	first := l.state().Procs["machine-"+node]
	if !first.alive() {
		return proc{}, fmt.Errorf("node %s does not run; see %s", node, l.path("log", "machine-"+node+".log"))
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", first.PID))
	if err != nil {
		return proc{}, err
	}
	for f := range strings.FieldsSeq(string(b)) {
		comm, _ := os.ReadFile("/proc/" + f + "/comm")
		if strings.TrimSpace(string(comm)) == program {
			pid, err := strconv.Atoi(f)
			return proc{PID: pid, Start: startTime(pid)}, err
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
		errs = append(errs, fmt.Errorf("pod %s/%s: no node runs it", ns, name))
	}
	if pause != 0 {
		return pause, firsts, nil
	}
	return 0, nil, errors.Join(errs...)
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
