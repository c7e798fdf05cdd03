// Command lab brings a laboratory up: a real Kubernetes with a real router, in
// network namespaces of one machine. It then runs pods in it, breaks it, shows
// what goes on, and takes it down without a trace.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/heraldlb/herald/e2e/lab"
)

const usage = `lab: a real Kubernetes and a real router in network namespaces

usage: lab [-name NAME] COMMAND [ARGUMENT...]

  build              install missing Debian packages, build Kubernetes, tools and Herald
  up [FLAG...]       bring the lab up (lab up -h shows the flags); with -kubelet all
                     or -kubelet n1,n2, nodes have real containerd and a real kubelet
  down               remove it, also what a killed up has left
  status             nodes, pods, and what is wrong
  list               names of the labs that are up
  parts              routers of several Debian releases, for up -router

  pod run POD [-node nX] [-labels k=v,k=v] [-image echo] [-host-network] [-- ARG...]
  pod rm|ready|unready|kill|pids POD...
                     POD is NAME, or NAMESPACE/NAME

  cut nX...          the link drops everything, silently; both ends keep their carrier
  cut-carrier nX...  the cable is pulled
  restore nX...      end of either
  poweroff nX...     the plug is pulled: silent link, every process gone
  shutdown nX...     in good order; the kubelet, a real one, ends the pods first
  poweron nX...      the node boots; its pods start again
  heartbeat stop|resume nX...
  kubelet nX...      its kubelet, a real one, crashes and is started again
  apiserver kill|start
  router kill|start  bgpd or bird only; its routes go with it

  exec PLACE -- COMMAND...
                     PLACE: ext, router, lan-client, cp, lan, n1..., pod:NAMESPACE/NAME
  kubectl ARG...     as administrator
  vtysh COMMAND      in a router that is FRR, as in: lab vtysh 'show bgp ipv4 unicast'
  routes PREFIX      the router's kernel routes within a prefix, with weights
  nodes              names and addresses

The name is -name, else $HERALD_LAB_NAME, else "lab". Labs of different names
live side by side. Their files are in $HERALD_LAB_DIR, or else /run/herald-lab.
`

// A command gets the lab's name and what follows its own name.
type command func(ctx context.Context, name string, args []string) error

var commands map[string]command

func init() {
	commands = map[string]command{
		"build": build, "up": up, "down": down, "parts": parts, "status": status, "list": list, "relay": relay, "machine": boot,
		"pod": pod, "heartbeat": heartbeat, "apiserver": apiserver, "router": router,
		"cut":         eachNode((*lab.Lab).Cut),
		"cut-carrier": eachNode((*lab.Lab).CutCarrier),
		"restore":     eachNode((*lab.Lab).Restore),
		"poweroff":    eachNode((*lab.Lab).PowerOff),
		"poweron":     eachNode((*lab.Lab).PowerOn),
		"shutdown":    eachNode((*lab.Lab).ShutDown),
		"kubelet":     eachNode(func(l *lab.Lab, _ context.Context, node string) error { return l.RestartKubelet(node) }),
		"exec":        execIn, "kubectl": kubectl, "vtysh": vtysh, "routes": routes, "nodes": nodes,
	}
}

func main() {
	if filepath.Base(os.Args[0]) == "poweroff" { // on a node with a kubelet
		if err := lab.PowerOffMachine(); err != nil {
			fmt.Fprintln(os.Stderr, "poweroff:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	name := os.Getenv("HERALD_LAB_NAME")
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flags.StringVar(&name, "name", name, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 || flags.Arg(0) == "help" {
		fmt.Fprint(os.Stdout, usage)
		return nil
	}
	cmd, ok := commands[flags.Arg(0)]
	if !ok {
		return fmt.Errorf("no command %q; `lab help` lists them", flags.Arg(0))
	}
	return cmd(ctx, name, flags.Args()[1:])
}

// afterDashes drops the "--" that sets a command apart from ours.
func afterDashes(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}

// splitDashes cuts the arguments at the first "--".
func splitDashes(args []string) (before, after []string) {
	for i, a := range args {
		if a == "--" {
			return args[:i], args[i+1:]
		}
	}
	return args, nil
}

func parsePairs(s string) (map[string]string, error) {
	pairs := map[string]string{}
	for _, kv := range strings.Split(s, ",") {
		if kv == "" {
			continue
		}
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, fmt.Errorf("label %q: write key=value", kv)
		}
		pairs[k] = v
	}
	return pairs, nil
}
