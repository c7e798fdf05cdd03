package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

const checkHelp = `FILE is the configuration, a ConfigMap that holds it under the key config.yaml,
or a manifest of several documents with that ConfigMap among them. - reads the
standard input.

Warnings are printed of what is valid, but hardly does what was meant, such as a
router that gets the weights of one address in two ways.

  --strict   a warning counts as a problem

The exit status is 0 if the configuration is valid, 1 if it is not, 2 if the
command line is wrong, and 3 if it could not be read.`

func check() command {
	return command{
		name:  "check",
		args:  "[--strict] FILE",
		about: "check a configuration and print every problem in it",
		help:  checkHelp,
		run:   runCheck,
	}
}

func runCheck(_ context.Context, std streams, args []string) error {
	f := newFlags("check")
	strict := f.Bool("strict", false, "")
	rest, err := parseFlags(f, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError{"check takes one file"}
	}
	name := rest[0]
	data, err := read(std, name)
	if err != nil {
		return err
	}
	c, warnings, err := config.ExamineFile(data)
	var problems config.Problems
	if errors.As(err, &problems) {
		printProblems(std.err, name, "", problems)
		return errFaults
	}
	if err != nil {
		return err
	}
	printProblems(std.err, name, "warning: ", warnings)
	if *strict && len(warnings) > 0 {
		return errFaults
	}
	_, err = fmt.Fprintln(std.out, summary(c))
	return err
}

func read(std streams, name string) ([]byte, error) {
	if name != "-" {
		return os.ReadFile(name)
	}
	data, err := io.ReadAll(std.in)
	if err != nil {
		return nil, fmt.Errorf("read the standard input: %w", err)
	}
	return data, nil
}

// printProblems writes file:line: before each, so that editors can jump there.
func printProblems(w io.Writer, name, kind string, problems config.Problems) {
	if name == "-" {
		name = "stdin"
	}
	for _, p := range problems {
		where := name
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", name, p.Line)
		}
		_, _ = fmt.Fprintf(w, "%s: %s%s\n", where, kind, p) // the exit status tells as well
	}
}

func summary(c *config.Config) string {
	return fmt.Sprintf("ok: %s (%s), %s, hash %s",
		count(uint64(len(c.Pools)), "pool", "pools"), addresses(c),
		count(uint64(len(c.Peers)), "peer", "peers"), c.Hash())
}

// addresses is how many can be handed out, leaving out a family without any.
func addresses(c *config.Config) string {
	var parts []string
	for _, f := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		switch n := size(c, f); n {
		case 0:
		case math.MaxUint64:
			parts = append(parts, "2^64 or more "+string(f))
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, f))
		}
	}
	if len(parts) == 0 {
		return "no addresses"
	}
	return strings.Join(parts, ", ") + " addresses"
}

func size(c *config.Config, f cluster.Family) (sum uint64) {
	for _, p := range c.Pools {
		n := p.Size(f)
		if sum += n; sum < n {
			return math.MaxUint64
		}
	}
	return sum
}

func count(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
