package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
)

func build(ctx context.Context, _ string, _ []string) error {
	if err := lab.EnsurePackages(ctx, os.Stdout); err != nil {
		return err
	}
	if err := lab.Part(ctx, lab.DefaultRouter); err != nil {
		return err
	}
	if err := lab.Build(ctx, os.Stdout); err != nil {
		return err
	}
	return lab.BuildImages(ctx, os.Stdout)
}

// parts lists the routers that `lab up -router` takes, and other people's parts
// beside.
func parts(ctx context.Context, _ string, _ []string) error {
	list, err := lab.Parts(ctx)
	fmt.Fprint(os.Stdout, list)
	return err
}

func up(ctx context.Context, name string, args []string) error {
	o := lab.Options{Name: name, Log: os.Stdout}
	flags := flag.NewFlagSet("lab up", flag.ContinueOnError)
	flags.IntVar(&o.Nodes, "nodes", 3, "how many nodes")
	far := flags.String("far", "", "nodes on a segment of their own behind the router, as in n3,n4")
	flags.StringVar(&o.ProxyMode, "proxy-mode", "nftables", "kube-proxy's mode: nftables or iptables")
	flags.BoolVar(&o.NoProxy, "no-proxy", false, "run no kube-proxy")
	flags.DurationVar(&o.NodeMonitorGracePeriod, "grace", 50*time.Second, "silence after which a node is not ready")
	flags.DurationVar(&o.Heartbeat, "heartbeat", 2*time.Second, "how often nodes report")
	flags.StringVar(&o.Router, "router", lab.DefaultRouter, "the router, as `lab parts` lists them")
	kubelets := flags.String("kubelet", "", "nodes with real containerd and a real kubelet, as in n1,n2, or all")
	asn := flags.Uint("asn", 64512, "the router's AS number")
	flags.StringVar(&o.PeerAS, "peer-as", "external", "AS the router accepts: external, internal or a number")
	flags.DurationVar(&o.Keepalive, "keepalive", 3*time.Second, "BGP keepalive of the router")
	flags.DurationVar(&o.Hold, "hold", 9*time.Second, "BGP hold time of the router")
	flags.BoolVar(&o.BFD, "bfd", false, "have the router ask BFD of the nodes")
	extra := flags.String("router-config", "", "file to append to the router's configuration")
	flags.IntVar(&o.APIPort, "port", 0, "loopback port of the API (default any free one)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.ASN = uint32(*asn)
	if *far != "" {
		o.FarNodes = strings.Split(*far, ",")
	}
	if *kubelets != "" {
		o.Kubelets = strings.Split(*kubelets, ",")
	}
	if *extra != "" {
		b, err := os.ReadFile(*extra)
		if err != nil {
			return err
		}
		o.RouterExtraConfig = string(b)
	}
	began := time.Now()
	l, err := lab.Up(ctx, o)
	if errors.Is(err, lab.ErrExists) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w\nwhat is left can be looked at; `lab down` removes it", err)
	}
	fmt.Fprintf(os.Stdout, "lab %s is up after %.1f s\n  export KUBECONFIG=%s\n", l.Name(), time.Since(began).Seconds(), l.Kubeconfig())
	return nil
}

func down(ctx context.Context, name string, _ []string) error { return lab.Down(ctx, name) }

func list(context.Context, string, []string) error {
	for _, n := range lab.Names() {
		fmt.Fprintln(os.Stdout, n)
	}
	return nil
}

// relay is how the lab starts itself; it is no command for people.
func relay(_ context.Context, _ string, args []string) error {
	if len(args) != 1 {
		return errors.New("relay: want one address")
	}
	return lab.Relay(args[0])
}

// boot is how the lab starts a node with a kubelet; it is no command for people.
func boot(_ context.Context, _ string, args []string) error {
	if len(args) != 1 {
		return errors.New("machine: want one file")
	}
	return lab.BootMachine(args[0])
}

func status(ctx context.Context, name string, _ []string) error {
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	s := l.Status(ctx)
	fmt.Fprintf(os.Stdout, "lab %s\n  export KUBECONFIG=%s\n\n", s.Name, s.Kubeconfig)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tREADY\tLINK\tIPV4\tIPV6")
	for _, n := range s.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", n.Name, n.Ready, n.Link, n.Addr4, n.Addr6)
	}
	if len(s.Pods) > 0 {
		fmt.Fprintln(w, "\nPOD\tSTATE\tNODE\tADDRESSES")
	}
	for _, p := range s.Pods {
		fmt.Fprintf(w, "%s/%s\t%s\t%s\t%s\n", p.Namespace, p.Name, podState(p), p.Node, addrs(p))
	}
	w.Flush()
	for _, p := range s.Problems() {
		fmt.Fprintln(os.Stdout, "problem:", p)
	}
	return bgpSummary(ctx, l)
}

func podState(p lab.Pod) string {
	switch {
	case p.Terminating:
		return "terminating"
	case p.Ready:
		return "ready"
	case p.Phase == "Running":
		return "not ready"
	}
	return strings.ToLower(p.Phase)
}

func addrs(p lab.Pod) string {
	var all []string
	for _, a := range p.Addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, ",")
}

func bgpSummary(ctx context.Context, l *lab.Lab) error {
	out, err := l.RouterSummary(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "\nrouter:\n%s\n", strings.TrimSpace(out))
	return nil
}

func nodes(_ context.Context, name string, _ []string) error {
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, n := range l.Nodes() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", n.Name, n.Addr4, n.Addr6, n.PodCIDR4, n.PodCIDR6)
	}
	return w.Flush()
}
