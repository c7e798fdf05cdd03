package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

func version() command {
	return command{
		name:  "version",
		about: "show the version of heraldctl",
		run:   runVersion,
	}
}

func runVersion(_ context.Context, std streams, args []string) error {
	if len(args) > 0 {
		return usageError{"version takes no arguments"}
	}
	built := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		built = cmp.Or(info.Main.Version, built)
	}
	_, err := fmt.Fprintf(std.out, "heraldctl %s %s %s/%s\n", built, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
