// Command heraldctl checks configurations and explains what Herald does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// command is one subcommand; each has a file of its own.
type command struct {
	name  string
	args  string // as the usage shows them
	about string // one line
	help  string // what else there is to say; may be empty
	run   func(ctx context.Context, std streams, args []string) error
}

func commands() []command {
	return []command{check(), diffCommand(), explainCommand(), migrateCommand(), routerCommand(), snapshotCommand(), statusCommand(), version(), help()}
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// errFaults says that what was examined is faulty and that the faults have been
// printed. It is the one error that exits with 1. A mistake on the command line exits
// with 2, and all others, which leave open what is so, with 3.
var errFaults = errors.New("faults were found")

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, streams{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, std streams, args []string) int {
	err := dispatch(ctx, std, args)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFaults):
		return 1
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(std.err, "heraldctl: %v; see heraldctl help\n", err)
		return 2
	default:
		_, _ = fmt.Fprintf(std.err, "heraldctl: %v\n", err)
		return 3
	}
}

func dispatch(ctx context.Context, std streams, args []string) error {
	if len(args) == 0 {
		return usageError{"a command is missing"}
	}
	name, rest := args[0], args[1:]
	if isHelpFlag(name) {
		name = help().name
	}
	c, ok := find(name)
	if !ok {
		return usageError{fmt.Sprintf("unknown command %q", name)}
	}
	if len(rest) > 0 && isHelpFlag(rest[0]) {
		return showHelp(std, c)
	}
	return c.run(ctx, std, rest)
}

func find(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

func isHelpFlag(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }
