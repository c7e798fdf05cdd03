package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/internal/kube"
)

const statusHelp = `Printed are the problems that Herald's parts know of, each with where it is and, if that
is known, what to do; then tables of the pools, the nodes, the BGP sessions and the
Services. With one of the words pools, nodes, sessions or services it is that table
alone.

What a node's speaker says of itself counts; of the Services it is what stands in their
status. The speakers are asked through the API server, as heraldctl explain does.

The exit status is 0 if there is no problem, 1 if there is one, and 2 if the cluster
could not be read.

` + clusterHelp

func statusCommand() command {
	return command{
		name:  "status",
		args:  "[FLAGS] [pools|nodes|sessions|services]",
		about: "show what is wrong, and pools, nodes, sessions and Services",
		help:  statusHelp,
		run:   runStatus,
	}
}

func runStatus(ctx context.Context, std streams, args []string) error {
	var c clusterFlags
	f := newFlags("status")
	c.into(f)
	rest, err := parseFlags(f, args)
	if err != nil {
		return err
	}
	tables := map[string]func(*explain.Status, io.Writer){
		"pools": (*explain.Status).Pools, "nodes": (*explain.Status).Nodes,
		"sessions": (*explain.Status).Sessions, "services": (*explain.Status).Services,
	}
	show := (*explain.Status).Write
	if len(rest) > 0 {
		known := false
		if show, known = tables[rest[0]]; !known || len(rest) > 1 {
			return usageError{fmt.Sprintf("status: %q: write pools, nodes, sessions or services, or nothing", strings.Join(rest, " "))}
		}
	}
	saved, client, err := c.load(ctx, std)
	if err != nil {
		return err
	}
	written, missing, err := newest(ctx, client)
	if err != nil {
		return err
	}
	var nodes []string
	for _, n := range saved.Cluster.Nodes {
		nodes = append(nodes, n.Name)
	}
	answers := askAll(ctx, client, nodes, "-", answerTime) // what is wrong, and no addresses
	s, err := explain.NewStatus(saved, answers, written, missing, time.Now())
	if err != nil {
		return err
	}
	show(s, std.out)
	if len(rest) == 0 && len(s.Problems()) > 0 {
		return errFaults
	}
	return nil
}

// newest is the text that people wrote last, be it in force or not.
func newest(ctx context.Context, client *kube.Client) (text string, missing bool, err error) {
	m, there, err := client.ReadConfigMap(ctx, "herald")
	if err != nil {
		return "", false, err
	}
	text, has := m.Data[config.ConfigMapKey]
	return text, !there || !has, nil
}
