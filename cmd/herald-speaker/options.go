package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/heraldlb/herald/internal/daemon"
	"github.com/heraldlb/herald/speaker/members"
)

type options struct {
	*daemon.Flags
	node, configMap  string
	gossipKeyFile    string
	gossipPort       uint
	passwordDir      string
	stateFile        string
	daemonSet        string
	kubeProxyHealthz string
	kubeProxyMetrics string
	countFlows       bool
}

func parseFlags(args []string, errOut io.Writer) (options, error) {
	o := options{Flags: daemon.NewFlags("herald-speaker", ":7473", errOut)}
	f := o.Set()
	f.StringVar(&o.node, "node", os.Getenv("NODE_NAME"), "`name` of the Node that this speaker runs on (default $NODE_NAME)")
	f.StringVar(&o.configMap, "config-map", "herald-accepted", "`name` of the ConfigMap that the allocator publishes")
	f.StringVar(&o.gossipKeyFile, "gossip-key-file", "", "`file` with the key of the speakers' gossip: base64 of 32 bytes; empty: no gossip and no layer 2")
	f.UintVar(&o.gossipPort, "gossip-port", members.DefaultPort, "`port` of the gossip, UDP and TCP, the same on every node")
	f.StringVar(&o.passwordDir, "bgp-password-dir", "", "`directory` with the keys of the Secret herald-bgp as files; empty: no passwords")
	f.StringVar(&o.stateFile, "state-file", "", "`file` from which a speaker goes on while the API server is away; empty: none")
	f.StringVar(&o.daemonSet, "daemonset", "", "`name` of the DaemonSet that this speaker is of; once it is gone, routes are withdrawn at the end; empty: not asked")
	f.StringVar(&o.kubeProxyHealthz, "kube-proxy-healthz", "http://127.0.0.1:10256/healthz", "`URL` of kube-proxy's health on this node")
	f.StringVar(&o.kubeProxyMetrics, "kube-proxy-metrics", "http://127.0.0.1:10249/metrics", "`URL` of kube-proxy's metrics on this node; empty: not asked")
	f.BoolVar(&o.countFlows, "count-flows", true, "count new flows in nftables, where that is permitted, and judge whether routers follow the weights")
	err := o.Parse(args, func() error {
		switch {
		case o.node == "":
			return errors.New("--node is required: the name of the Node that this speaker runs on")
		case o.gossipPort < 1 || o.gossipPort > math.MaxUint16:
			return fmt.Errorf("--gossip-port %d: want 1 to 65535", o.gossipPort)
		}
		return nil
	})
	return o, err
}
