package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/heraldlb/herald/internal/daemon"
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
	_, err := fmt.Fprintf(std.out, "heraldctl %s %s %s/%s\n", daemon.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
