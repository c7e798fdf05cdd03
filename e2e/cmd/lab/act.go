package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"sort"
	"strings"
	"syscall"

	"github.com/heraldlb/herald/e2e/lab"
)

// eachNode makes a command of something that is done to a node.
func eachNode(do func(*lab.Lab, context.Context, string) error) command {
	return func(ctx context.Context, name string, args []string) error {
		l, err := lab.Open(name)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return errors.New("want the names of nodes, as in n1 n2")
		}
		for _, node := range args {
			if err := do(l, ctx, node); err != nil {
				return err
			}
		}
		return nil
	}
}

func heartbeat(ctx context.Context, name string, args []string) error {
	do, rest, err := choose(args, map[string]func(*lab.Lab, context.Context, string) error{
		"stop":   func(l *lab.Lab, _ context.Context, node string) error { return l.StopHeartbeat(node) },
		"resume": func(l *lab.Lab, _ context.Context, node string) error { return l.ResumeHeartbeat(node) },
	})
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return eachNode(do)(ctx, name, rest)
}

func apiserver(ctx context.Context, name string, args []string) error {
	do, _, err := choose(args, map[string]func(*lab.Lab) error{
		"kill": (*lab.Lab).KillAPIServer,
		"start": func(l *lab.Lab) error {
			return errors.Join(l.StartAPIServer(), l.WaitAPI(ctx))
		},
	})
	if err != nil {
		return fmt.Errorf("apiserver: %w", err)
	}
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	return do(l)
}

func router(ctx context.Context, name string, args []string) error {
	do, _, err := choose(args, map[string]func(*lab.Lab) error{
		"kill":  (*lab.Lab).KillRouter,
		"start": func(l *lab.Lab) error { return l.StartRouter(ctx) },
	})
	if err != nil {
		return fmt.Errorf("router: %w", err)
	}
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	return do(l)
}

// choose picks what the first argument names.
func choose[T any](args []string, from map[string]T) (chosen T, rest []string, err error) {
	var names []string
	for n := range from {
		names = append(names, n)
	}
	sort.Strings(names)
	if len(args) > 0 {
		if c, ok := from[args[0]]; ok {
			return c, args[1:], nil
		}
	}
	return chosen, nil, fmt.Errorf("want %s", strings.Join(names, " or "))
}

func pod(ctx context.Context, name string, args []string) error {
	do, rest, err := choose(args, map[string]func(context.Context, *lab.Lab, []string) error{
		"run":     podRun,
		"rm":      eachPod((*lab.Lab).RemovePod),
		"kill":    eachPod(func(l *lab.Lab, _ context.Context, p string) error { return l.KillPod(p) }),
		"ready":   eachPod(func(l *lab.Lab, ctx context.Context, p string) error { return l.SetReady(ctx, p, true) }),
		"unready": eachPod(func(l *lab.Lab, ctx context.Context, p string) error { return l.SetReady(ctx, p, false) }),
		"pids":    eachPod(podPIDs),
	})
	if err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	return do(ctx, l, rest)
}

func eachPod(do func(*lab.Lab, context.Context, string) error) func(context.Context, *lab.Lab, []string) error {
	return func(ctx context.Context, l *lab.Lab, pods []string) error {
		for _, p := range pods {
			if err := do(l, ctx, p); err != nil {
				return err
			}
		}
		return nil
	}
}

func podPIDs(l *lab.Lab, _ context.Context, pod string) error {
	pids, err := l.PodPIDs(pod)
	for _, pid := range pids {
		fmt.Fprintln(os.Stdout, pid)
	}
	return err
}

func podRun(ctx context.Context, l *lab.Lab, args []string) error {
	args, rest := splitDashes(args)
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return errors.New("pod run: the pod's name comes first")
	}
	p := lab.PodSpec{Args: rest}
	if ns, name, ok := strings.Cut(args[0], "/"); ok {
		p.Namespace, p.Name = ns, name
	} else {
		p.Name = args[0]
	}
	flags := flag.NewFlagSet("lab pod run", flag.ContinueOnError)
	flags.StringVar(&p.Node, "node", "", "the node; else the scheduler chooses")
	flags.StringVar(&p.Image, "image", "echo", "a program in e2e/bin")
	flags.BoolVar(&p.HostNetwork, "host-network", false, "live in the node's namespace")
	labels := flags.String("labels", "", "as in app=web,tier=front")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	var err error
	if p.Labels, err = parsePairs(*labels); err != nil {
		return err
	}
	return l.RunPod(ctx, p)
}

// execIn becomes the command, so that signals and the terminal are its own.
func execIn(ctx context.Context, name string, args []string) error {
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	if len(args) < 2 {
		return errors.New("exec: want PLACE -- COMMAND")
	}
	cmd, err := l.Command(ctx, args[0], afterDashes(args[1:])...)
	if err != nil {
		return err
	}
	return syscall.Exec(cmd.Path, cmd.Args, cmd.Env)
}

func kubectl(_ context.Context, name string, args []string) error {
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	argv := l.KubectlArgv(afterDashes(args)...)
	return syscall.Exec(argv[0], argv, os.Environ())
}

func vtysh(_ context.Context, name string, args []string) error {
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	argv, err := l.VtyshArgv(args...)
	if err != nil {
		return err
	}
	return syscall.Exec(argv[0], argv, os.Environ())
}

func routes(ctx context.Context, name string, args []string) error {
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{lab.VIP4, lab.VIP6}
	}
	for _, a := range args {
		prefix, err := netip.ParsePrefix(a)
		if err != nil {
			return err
		}
		if err := printRoutes(ctx, l, prefix); err != nil {
			return err
		}
	}
	return nil
}

func printRoutes(ctx context.Context, l *lab.Lab, within netip.Prefix) error {
	found, err := l.RouterRoutes(ctx, within)
	if err != nil {
		return err
	}
	var prefixes []netip.Prefix
	for p := range found {
		prefixes = append(prefixes, p)
	}
	sort.Slice(prefixes, func(i, j int) bool { return prefixes[i].String() < prefixes[j].String() })
	for _, p := range prefixes {
		fmt.Fprintln(os.Stdout, p)
		for _, h := range found[p] {
			fmt.Fprintf(os.Stdout, "  via %-16v weight %d\n", h.Via, h.Weight)
		}
	}
	return nil
}
