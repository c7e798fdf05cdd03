package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/explain"
)

const diffHelp = `FILE is as for check. Printed is each Service of the cluster that would have another
address, or another condition, if that configuration took the place of the one in
force; and what the allocator would refuse or warn of in this cluster, such as a pool
that holds a node's address. Nothing is changed.

The exit status is 0 if the allocator would take the configuration, 1 if it would
not, 2 if the command line is wrong, and 3 if the file or the cluster could not be read.

  --snapshot FILE          compare with what was saved instead of asking the cluster
` + clusterHelp

func diffCommand() command {
	return command{
		name:  "diff",
		args:  "[FLAGS] FILE",
		about: "show what a configuration would change for the Services of the cluster",
		help:  diffHelp,
		run:   runDiff,
	}
}

func runDiff(ctx context.Context, std streams, args []string) error {
	var c clusterFlags
	f := newFlags("diff")
	c.intoWithSnapshot(f)
	rest, err := parseFlags(f, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError{"diff takes one file"}
	}
	data, err := read(std, rest[0])
	if err != nil {
		return err
	}
	next, warnings, err := config.ExamineFile(data)
	var problems config.Problems
	if errors.As(err, &problems) {
		printProblems(std.err, rest[0], "", problems)
		return errFaults
	}
	if err != nil {
		return err
	}
	saved, _, err := c.load(ctx, std)
	if err != nil {
		return err
	}
	faults, more, err := explain.Diff(std.out, saved, next)
	if err != nil {
		return fmt.Errorf("diff: %w", err)
	}
	printProblems(std.err, rest[0], "warning: ", append(more, warnings...))
	if len(faults) > 0 {
		printProblems(std.err, rest[0], "", faults)
		return errFaults
	}
	return nil
}
