// Command demo shows Herald's main job on a lab of its own: a Local Service with
// 1, 3 and 4 pods on three nodes, the router's weighted routes, and the share of
// connections that each pod gets, as the client and as Herald itself counts them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

const connections = 10_000

func main() {
	name := flag.String("name", "demo", "`name` of the lab; one of this name is replaced")
	down := flag.Bool("down", false, "take the lab down at the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := show(ctx, os.Stdout, *name)
	if *down {
		err = errors.Join(err, lab.Down(context.Background(), *name))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

var pods = map[string]int{"n1": 1, "n2": 3, "n3": 4}

func show(ctx context.Context, w io.Writer, name string) error {
	begin := time.Now()
	say := func(format string, args ...any) { stage.Say(w, begin, format, args...) }

	say("lab: a Kubernetes control plane, three nodes, a router and a client, in network namespaces")
	s, err := setUp(ctx, w, name, say)
	if err != nil {
		return err
	}
	say("pods: %s with 1, %s with 3, %s with 4", "n1", "n2", "n3")
	if err := s.RunPods(ctx, "web", pods); err != nil {
		return err
	}
	say("kubectl apply -f service.yaml: type LoadBalancer, externalTrafficPolicy Local, dual-stack")
	if err := s.Create(ctx, stage.Service{Name: "web"}); err != nil {
		return err
	}
	addrs, err := s.WaitAddrs(ctx, "web", 2)
	if err != nil {
		return err
	}
	say("addresses: %s and %s", addrs[0], addrs[1])
	if err := waitRoutes(ctx, s, addrs); err != nil {
		return err
	}
	if err := routes(ctx, w, s, addrs); err != nil {
		return err
	}
	fmt.Fprintln(w)
	say("%d connections from the client %s to %s", connections, lab.Ext4, addrs[0])
	if err := shares(ctx, w, s, addrs[0]); err != nil {
		return err
	}
	return next(w, s, addrs[0])
}

func setUp(ctx context.Context, w io.Writer, name string, say func(string, ...any)) (*stage.Stage, error) {
	if err := lab.Down(ctx, name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := lab.Up(ctx, lab.Options{Name: name, Log: w})
	if err != nil {
		return nil, err
	}
	say("Herald: kubectl apply -k manifests/overlays/measure, and a ConfigMap with a pool and a peer")
	return stage.InstallFrom(ctx, l, "overlays/measure", stage.Config)
}

// waitRoutes waits until the router has all three next hops for all addresses,
// and the nodes answer by all of them.
func waitRoutes(ctx context.Context, s *stage.Stage, addrs []netip.Addr) error {
	for _, a := range addrs {
		if err := s.WaitWeights(ctx, 20*time.Second, a, map[string]int{"n1": 1, "n2": 3, "n3": 4}); err != nil {
			return err
		}
	}
	if err := s.WaitCounting(ctx, 20*time.Second, addrs[0]); err != nil {
		return err
	}
	port := 32000
	return stage.Wait(ctx, 15*time.Second, func() error {
		// No source port is used twice: a node that sees a flow before kube-proxy has
		// its rules remembers the flow without them for two minutes.
		port += 200
		got, err := send(ctx, s, addrs[0], 200, port)
		if err == nil && got.Failed > 0 {
			err = fmt.Errorf("%d of 200 connections failed: %v", got.Failed, got.Errors)
		}
		return err
	})
}

func routes(ctx context.Context, w io.Writer, s *stage.Stage, addrs []netip.Addr) error {
	fmt.Fprintln(w, "\nThe router's kernel (FRR scales weights so that the greatest is 254):")
	for _, a := range addrs {
		argv := []string{"ip", "route", "show", stage.Host(a).String()}
		if a.Is6() {
			argv = slices.Insert(argv, 1, "-6")
		}
		out, err := s.Exec(ctx, lab.Router, argv...)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n  # %s\n", strings.Join(argv, " "))
		fmt.Fprint(w, indent(out))
	}
	return nil
}

func indent(text string) string {
	out := ""
	for line := range strings.Lines(text) {
		out += "  " + line
	}
	return out
}

func send(ctx context.Context, s *stage.Stage, a netip.Addr, n, firstPort int) (flows.Shares, error) {
	var got flows.Shares
	err := s.Run(ctx, lab.Ext, &got, "flows", "shares", "--json", "--n", strconv.Itoa(n), "--first-port", strconv.Itoa(firstPort),
		"--target", netip.AddrPortFrom(a, 80).String())
	return got, err
}

// shares prints what each pod got beside what it should get, and beside what it
// would get from a router that weighs the nodes equally.
func shares(ctx context.Context, w io.Writer, s *stage.Stage, a netip.Addr) error {
	got, err := send(ctx, s, a, connections, 10000)
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "  POD\tNODE\tMEASURED\tIDEAL\tWITH EQUAL WEIGHTS")
	for _, p := range got.Pods {
		fmt.Fprintf(tw, "  %s\t%s\t%.1f %%\t%.1f %%\t%.1f %%\n", p.Pod, p.Node, 100*p.Share,
			100/float64(len(got.Pods)), 100/float64(len(pods)*pods[p.Node]))
	}
	_ = tw.Flush() // standard output's errors have no other way out
	fmt.Fprintf(w, "\n  %d connections, %d failed; the pods saw the client as %s\n", got.Flows, got.Failed, clients(got))
	return counted(ctx, w, s, a, got)
}

// counted prints what each node got as the client has seen it, and as the speakers
// themselves have counted it, the few connections before included.
func counted(ctx context.Context, w io.Writer, s *stage.Stage, a netip.Addr, got flows.Shares) error {
	counts, err := s.WaitCounted(ctx, 25*time.Second, a, got.Flows)
	if err != nil {
		return err
	}
	var sum uint64
	for _, n := range counts {
		sum += n
	}
	fmt.Fprint(w, "\nWhat the speakers have counted themselves (in nftables, at no cost for known connections):\n\n")
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "  NODE\tPODS\tSHOULD GET\tHERALD COUNTED\tTHE CLIENT SAW")
	var all int
	for _, n := range pods {
		all += n
	}
	for _, n := range slices.Sorted(maps.Keys(pods)) {
		saw := 0.0
		for _, p := range got.Pods {
			if p.Node == n {
				saw += p.Share
			}
		}
		fmt.Fprintf(tw, "  %s\t%d\t%.1f %%\t%.1f %%\t%.1f %%\n", n, pods[n], 100*float64(pods[n])/float64(all), 100*float64(counts[n])/float64(sum), 100*saw)
	}
	_ = tw.Flush() // standard output's errors have no other way out
	return nil
}

func clients(s flows.Shares) string {
	out := ""
	for c := range s.Clients {
		out += c + " "
	}
	return out
}

func next(w io.Writer, s *stage.Stage, a netip.Addr) error {
	bin, err := lab.BinDir()
	if err != nil {
		return err
	}
	if here, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(here, bin); err == nil {
			bin = rel
		}
	}
	l := filepath.Join(bin, "lab") + " -name " + s.Name()
	fmt.Fprintf(w, `
The lab is still up. Try:

  %[1]s kubectl get services
  %[1]s pod run web-n1-1 --node n1 --labels app=web    # a second pod on n1: its weight follows
  %[1]s exec router -- ip route show %[2]s
  %[1]s cut n2                                         # n2 falls silent; restore n2 brings it back
  %[1]s exec ext -- curl -s http://%[2]s/
  %[3]s explain --kubeconfig %[4]s web

Take it down with:

  %[1]s down
`, l, a, filepath.Join(bin, "heraldctl"), s.Kubeconfig())
	return nil
}
