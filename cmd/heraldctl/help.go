package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
)

func help() command {
	return command{
		name:  "help",
		args:  "[COMMAND]",
		about: "show this list, or what a command does",
		run:   runHelp,
	}
}

func runHelp(_ context.Context, std streams, args []string) error {
	if len(args) > 1 {
		return usageError{"help: more than one command"}
	}
	if len(args) == 1 {
		c, ok := find(args[0])
		if !ok {
			return usageError{fmt.Sprintf("help: unknown command %q", args[0])}
		}
		return showHelp(std, c)
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(w, "usage: heraldctl COMMAND [ARGUMENTS]\n\n") // Flush reports the first error
	for _, c := range commands() {
		_, _ = fmt.Fprintf(w, "  %s\t%s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
	}
	return w.Flush()
}

func showHelp(std streams, c command) error {
	_, err := fmt.Fprintf(std.out, "usage: heraldctl %s\n\n%s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
	if err == nil && c.help != "" {
		_, err = fmt.Fprintf(std.out, "\n%s\n", c.help)
	}
	return err
}
