// Package machine boots a node of the lab as a machine of its own, with real
// containerd and a real kubelet.
//
// A machine is a set of namespaces: of processes, mounts and the host name, in
// the network namespace that the lab has made for the node. Its root is Debian's
// containerd with all that it depends on (parts.sh, part "node"), under an overlay
// that holds what the machine writes: its disk, which outlives a power cut. Its
// first process is ours. When that one ends, the kernel ends all the others, the
// containers' too, and unmounts everything: that is the power cut. Before it may come
// a shutdown in good order, which elogind announces to the kubelet.
//
// What is shared with other machines is the kernel: its settings that no namespace
// has, its log, its clock, and the tree of cgroups, of which each machine has a
// branch.
package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Config says what a machine is.
type Config struct {
	Node       string // the name of the Node and of the host
	Dir        string // the machine's disk
	Part       string // root of parts.sh's part "node"
	BinDir     string // has kubelet, and images in its folder images
	LogDir     string
	Kubeconfig string // of the kubelet
	CA         string // certificates of whoever the kubelet's clients are
	Cgroup     string // name of the branch; no other machine's
	Addrs      string // the Node's addresses, separated by commas
	PodCIDR4   string
	PodCIDR6   string
	Labels     string // of the Node, as in a=b,c=d
	Heartbeat  time.Duration
}

// Places in the machine's own root.
const (
	programs      = "/opt/lab"
	kubeletConfig = "/etc/kubernetes/kubelet.yaml"
	kubeconfig    = "/etc/kubernetes/kubeconfig"
	clientCA      = "/etc/kubernetes/ca.crt"
	socket        = "/run/containerd/containerd.sock"
	busSocket     = "/run/dbus/system_bus_socket"
)

// PowerOff ends the machine that the calling process is in. elogind calls it when
// whoever holds a shutdown up has let go.
func PowerOff() error { return syscall.Kill(1, syscall.SIGPWR) }

// Boot makes the calling process the first one of a machine. It must be alone in
// new namespaces of processes, mounts and the host name. It returns only an error.
func Boot(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c Config
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if os.Getpid() != 1 {
		return fmt.Errorf("machine %s: process %d: want to be the first of a namespace", c.Node, os.Getpid())
	}
	// Opened before the root changes.
	logs, err := openLogs(c, "dbus", "elogind", "containerd", "kubelet")
	if err != nil {
		return err
	}
	for _, step := range []func(Config) error{makeCgroups, makeRoot, writeFiles, enterRoot} {
		if err := step(c); err != nil {
			return fmt.Errorf("machine %s: %w", c.Node, err)
		}
	}
	return newSupervisor(logs).run(c)
}

func openLogs(c Config, names ...string) (map[string]*os.File, error) {
	logs := map[string]*os.File{}
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(c.LogDir, name+"-"+c.Node+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return nil, err
		}
		logs[name] = f
	}
	return logs, nil
}
