// Command herald-speaker announces, from one node, the LoadBalancer addresses
// that the node can serve.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/heraldlb/herald/internal/daemon"
)

func main() {
	o, err := parseFlags(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(daemon.ExitCode(err)) // parseFlags has said why
	}
	if o.Version {
		fmt.Println("herald-speaker", daemon.Version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := o.Logger(os.Stderr)
	if err := run(ctx, o, log); err != nil {
		log.Error("speaker failed", "err", err)
		os.Exit(1)
	}
}

// run wires the parts together and runs them until ctx is done or one fails.
func run(ctx context.Context, o options, log *slog.Logger) error {
	n, err := newNode(o, log)
	if err != nil {
		return err
	}
	log.Info("speaker started", "node", o.node)
	go watch(ctx, n.bgp.Healthy, func() { os.Exit(1) }, log)
	return n.run(ctx)
}
