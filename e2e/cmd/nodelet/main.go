// Command nodelet stands in for the kubelet of one lab node. It is started in
// the node's network namespace.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/connrotation"

	"github.com/heraldlb/herald/e2e/internal/nodelet"
)

// Tools tell a process's network namespace by its first thread, so that thread
// must never be one of those that visit a pod's.
func init() { runtime.LockOSThread() }

type flags struct {
	opts       nodelet.Options
	kubeconfig string
}

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	f, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nodelet:", err)
		os.Exit(2)
	}
	f.opts.Log = log.With("node", f.opts.Node)
	if err := run(f); err != nil {
		fmt.Fprintln(os.Stderr, "nodelet:", err)
		os.Exit(1)
	}
}

func run(f flags) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return err
	}
	dialer := connrotation.NewDialer((&net.Dialer{Timeout: 5 * time.Second}).DialContext)
	config.Dial, f.opts.Disconnect = dialer.DialContext, dialer.CloseAll
	config.QPS = -1 // the API server has its own fairness
	config.UserAgent = "nodelet"
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	if f.opts.Client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	agent, err := nodelet.New(f.opts)
	if err != nil {
		return err
	}
	return agent.Run(ctx)
}

func parse(args []string) (flags, error) {
	var f flags
	var binDirs, nodeIPs, cidr4, cidr6 string
	f.opts.Labels = map[string]string{}
	fs := flag.NewFlagSet("nodelet", flag.ContinueOnError)
	fs.StringVar(&f.opts.Node, "node", "", "`name` of the node")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "`file` with the node's own credentials")
	fs.StringVar(&f.opts.RunDir, "run-dir", "", "`directory` for state, volumes and logs")
	fs.StringVar(&binDirs, "bin-dir", "", "`directories` with images, separated by commas")
	fs.StringVar(&f.opts.Net.Prefix, "netns-prefix", "", "`prefix` of the names of pods' network namespaces, this node's alone")
	fs.StringVar(&cidr4, "pod-cidr4", "", "IPv4 `prefix` of the node's pods")
	fs.StringVar(&cidr6, "pod-cidr6", "", "IPv6 `prefix` of the node's pods")
	fs.StringVar(&nodeIPs, "node-ip", "", "the node's `addresses`, separated by commas")
	fs.DurationVar(&f.opts.Heartbeat, "heartbeat", 0, "`period` of the lease's renewal (default 2s)")
	fs.Func("label", "`key=value` of a label of the node; may be repeated", func(s string) error {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("not key=value")
		}
		f.opts.Labels[k] = v
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	if fs.NArg() > 0 {
		return f, fmt.Errorf("unexpected argument %s", fs.Arg(0))
	}
	if binDirs != "" {
		f.opts.BinDirs = strings.Split(binDirs, ",")
	}
	return f, f.parseAddrs(nodeIPs, cidr4, cidr6)
}

func (f *flags) parseAddrs(nodeIPs, cidr4, cidr6 string) error {
	var err4, err6 error
	f.opts.Net.CIDR4, err4 = netip.ParsePrefix(cidr4)
	f.opts.Net.CIDR6, err6 = netip.ParsePrefix(cidr6)
	if err := errors.Join(err4, err6); err != nil {
		return fmt.Errorf("pod prefixes: %w", err)
	}
	for s := range strings.SplitSeq(nodeIPs, ",") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("node-ip: %w", err)
		}
		f.opts.Addrs = append(f.opts.Addrs, a)
	}
	return nil
}
