package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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

The exit status is 0 if there is no problem, 1 if one is printed, 2 if the command line
is wrong, and 3 if the cluster could not be read.

  -o, --output json        the same as data; docs/operations.md has the fields
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
	var output string
	f := newFlags("status")
	c.into(f)
	f.StringVar(&output, "o", "", "")
	f.StringVar(&output, "output", "", "")
	rest, err := parseFlags(f, args)
	if err != nil {
		return err
	}
	if output != "" && output != "json" {
		return usageError{fmt.Sprintf("status: -o %q: write json, or leave it out", output)}
	}
	show, only := explain.Report.Write, func(r explain.Report) explain.Report { return r }
	if len(rest) > 0 {
		parts := explain.Parts()
		i := slices.IndexFunc(parts, func(t explain.Part) bool { return t.Name == rest[0] })
		if i < 0 || len(rest) > 1 {
			return usageError{fmt.Sprintf("status: %q: write pools, nodes, sessions or services, or nothing", strings.Join(rest, " "))}
		}
		show, only = parts[i].Write, parts[i].Only
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
	report := only(s.Report())
	if output == "json" {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		show(report, std.out)
	}
	if err == nil && len(report.Problems) > 0 {
		err = errFaults
	}
	return err
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
