package main

import (
	"flag"
	"fmt"
)

// newFlags are those of a command. What they mean is in its help.
func newFlags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(discard{})
	return f
}

// parseFlags returns what is no flag. Flags may follow it, as in kubectl.
func parseFlags(f *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			return nil, usageError{fmt.Sprintf("%s: %v", f.Name(), err)}
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

// discard keeps flag from printing a usage of its own.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
