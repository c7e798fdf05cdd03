package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"
)

// startAgent starts what makes a node of a namespace.
func (l *Lab) startAgent(ctx context.Context, n Node) error {
	if !l.hasKubelet(n.Name) {
		return l.startNodelet(n)
	}
	if l.state().Procs[l.agent(n.Name)].alive() { // since before the API server was
		return nil
	}
	return l.startMachine(ctx, n)
}

// agent is the name of that, among the lab's processes and logs.
func (l *Lab) agent(node string) string {
	if l.hasKubelet(node) {
		return "machine-" + node
	}
	return "nodelet-" + node
}

// startNodelet starts the kubelet's stand-in in the node's namespace.
func (l *Lab) startNodelet(n Node) error {
	dir := l.path("nodes", n.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	argv := []string{
		l.bin("nodelet"), "--node", n.Name, "--kubeconfig", l.path(nodeKubeconfig(n.Name)), "--run-dir", dir,
		"--bin-dir", strings.Join(append([]string{l.opts.BinDir}, l.opts.ExtraBinDirs...), ","),
		"--netns-prefix", l.podPrefix(n.Name), "--pod-cidr4", n.PodCIDR4, "--pod-cidr6", n.PodCIDR6,
		"--node-ip", n.Addr4 + "," + n.Addr6, "--heartbeat", l.opts.Heartbeat.String(),
	}
	for _, kv := range sortedPairs(l.opts.NodeLabels[n.Name]) {
		argv = append(argv, "--label", kv)
	}
	return l.start(daemon{name: "nodelet-" + n.Name, ns: l.ns(n.Name), argv: argv})
}

func sortedPairs(m map[string]string) []string {
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return pairs
}

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %[1]s
hostnameOverride: %[2]s
clusterCIDR: %[3]s
detectLocalMode: ClusterCIDR
clientConnection: {kubeconfig: %[4]s}
# These two limits can be set in the first namespace only, and are fatal elsewhere.
conntrack: {maxPerCore: 0, min: 0}
iptables: {minSyncPeriod: %[5]s}
nftables: {minSyncPeriod: %[5]s}
`

// startProxy starts kube-proxy, which wants its Node to exist.
func (l *Lab) startProxy(n Node) error {
	file := l.path("nodes", "kube-proxy-"+n.Name+".yaml")
	config := fmt.Sprintf(proxyConfig, l.opts.ProxyMode, n.Name, podCIDRs, l.path("pki", "kube-proxy.conf"), l.opts.ProxyMinSync)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	return l.start(daemon{
		name: "kube-proxy-" + n.Name, ns: l.ns(n.Name),
		argv: []string{l.bin("kube-proxy"), "--config=" + file},
	})
}

// waitNodes waits until the API calls these nodes ready.
func (l *Lab) waitNodes(ctx context.Context, nodes []Node) error {
	return waitFor(ctx, time.Minute, "the nodes to be ready", func() error {
		ready, err := l.readyNodes(ctx)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if !ready[n.Name] {
				return fmt.Errorf("%s is not; log: %s", n.Name, l.path("log", l.agent(n.Name)+".log"))
			}
		}
		return nil
	})
}

type condition struct{ Type, Status string }

func isTrue(conditions []condition, kind string) bool {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Status == "True"
		}
	}
	return false
}

// readyNodes has an entry for each Node object.
func (l *Lab) readyNodes(ctx context.Context) (map[string]bool, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct{ Conditions []condition }
		}
	}
	if err := l.Get(ctx, "/api/v1/nodes", &list); err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, n := range list.Items {
		ready[n.Metadata.Name] = isTrue(n.Status.Conditions, "Ready")
	}
	return ready, nil
}

// startProxies starts kube-proxy on each node and waits until its rules are in.
func (l *Lab) startProxies(ctx context.Context, nodes []Node) error {
	if l.opts.NoProxy {
		return nil
	}
	for _, n := range nodes {
		if err := l.startProxy(n); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := l.waitProxy(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) waitProxy(ctx context.Context, n Node) error {
	what := "kube-proxy of " + n.Name + " (log: " + l.path("log", "kube-proxy-"+n.Name+".log") + ")"
	return waitFor(ctx, time.Minute, what, func() error {
		_, err := l.Exec(ctx, n.Name, "curl", "-sfm1", "-o", "/dev/null", "http://127.0.0.1:10256/healthz")
		return err
	})
}

// bootNodes starts what runs on the nodes, and waits for it.
func (l *Lab) bootNodes(ctx context.Context, nodes []Node) error {
	for _, n := range nodes {
		if err := l.startAgent(ctx, n); err != nil {
			return err
		}
	}
	if err := l.waitNodes(ctx, nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		if !l.hasKubelet(n.Name) {
			continue
		}
		if err := l.givePodCIDRs(ctx, n); err != nil {
			return err
		}
	}
	return l.startProxies(ctx, nodes)
}

// errOff is what a manipulation of a node without power comes to.
func (l *Lab) poweredNode(name string) (Node, error) {
	n, err := l.Node(name)
	if err == nil && l.state().Off[name] {
		err = errors.New("node " + name + " is powered off")
	}
	return n, err
}
