package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// marker is in the environment of everything that a lab starts, so that down
// finds it even where the namespace does not tell.
const marker = "HERALD_LAB_MEMBER="

const netnsDir = "/run/netns"

// run runs a command in the host's namespace and returns what it wrote.
func run(ctx context.Context, stdin string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	return output(cmd, stdin)
}

func output(cmd *exec.Cmd, stdin string) (string, error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	if err := cmd.Run(); err != nil {
		msg := strings.TrimSpace(errOut.String() + out.String())
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, msg)
	}
	return out.String(), nil
}

// command builds a command that runs in a namespace, which is given by its name or
// its file. nsenter replaces itself, so the process id is the program's, and mounts
// stay the host's.
func (l *Lab) command(ctx context.Context, ns string, argv ...string) *exec.Cmd {
	if !filepath.IsAbs(ns) {
		ns = filepath.Join(netnsDir, ns)
	}
	args := append([]string{"--net=" + ns}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = append(os.Environ(), marker+l.opts.Name)
	return cmd
}

// Command returns a command, not yet started, that will run in a place: ext,
// router, lan-client, cp, n1 and so on, or pod:NAMESPACE/NAME.
func (l *Lab) Command(ctx context.Context, place string, argv ...string) (*exec.Cmd, error) {
	ns, err := l.Netns(ctx, place)
	if err != nil {
		return nil, err
	}
	return l.command(ctx, ns, argv...), nil
}

// Exec runs a command in a place and returns its standard output. The error
// holds what the command said.
func (l *Lab) Exec(ctx context.Context, place string, argv ...string) (string, error) {
	cmd, err := l.Command(ctx, place, argv...)
	if err != nil {
		return "", err
	}
	return output(cmd, "")
}

// Netns returns the name of a place's network namespace, as in `ip netns`, or the
// file that stands for it, where it has no name.
func (l *Lab) Netns(ctx context.Context, place string) (string, error) {
	if pod, ok := strings.CutPrefix(place, "pod:"); ok {
		return l.podNetns(ctx, pod)
	}
	switch place {
	case Ext, Router, LANClient, CP, lan:
		return l.ns(place), nil
	}
	if _, err := l.Node(place); err != nil {
		return "", fmt.Errorf("no place %q: use ext, router, lan-client, cp, lan, n1 to n%d or pod:NAMESPACE/NAME",
			place, l.opts.Nodes)
	}
	if l.state().Off[place] {
		return "", fmt.Errorf("node %s is powered off", place)
	}
	return l.ns(place), nil
}

// ip runs lines of an `ip -batch` in a namespace.
func ip(ctx context.Context, ns string, lines ...string) error {
	_, err := run(ctx, strings.Join(lines, "\n")+"\n", "ip", "-n", ns, "-batch", "-")
	return err
}
