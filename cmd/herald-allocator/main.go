// Command herald-allocator hands out addresses to Services of type LoadBalancer.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
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
		fmt.Println("herald-allocator", daemon.Version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := o.Logger(os.Stderr)
	if err := run(ctx, o, log); err != nil {
		log.Error("allocator failed", "err", err)
		os.Exit(1)
	}
}

type options struct {
	*daemon.Flags
	configMap, accepted, status string
	lease, identity             string
	class, classless            string
}

func parseFlags(args []string, errOut io.Writer) (options, error) {
	o := options{Flags: daemon.NewFlags("herald-allocator", ":7472", errOut)}
	f := o.Set()
	f.StringVar(&o.configMap, "config-map", "herald", "`name` of the ConfigMap that the user writes")
	f.StringVar(&o.status, "status-config-map", "herald-status", "`name` of the ConfigMap that tells how full pools are, and what is wrong with the configuration; empty: none")
	f.StringVar(&o.accepted, "accepted-config-map", "herald-accepted", "`name` of the ConfigMap that is published for the speakers")
	f.StringVar(&o.class, "service-class", "", "the spec.loadBalancerClass that asks for Herald; counts more than `serviceClass` of the configuration")
	f.StringVar(&o.classless, "classless", "", "serve or ignore Services without a class; counts more than `classless` of the configuration")
	f.StringVar(&o.lease, "lease", "herald-allocator", "`name` of the Lease that decides which replica leads")
	f.StringVar(&o.identity, "identity", identity(), "`name` of this replica in the Lease; no two may have the same")
	return o, o.Parse(args, nil)
}

// identity is the same for every start of one pod's container, since a restarted
// one need not wait for the Lease of its predecessor, which is surely dead.
// Outside of a pod it is unique.
func identity() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	if uid := os.Getenv("POD_UID"); uid != "" {
		return name + "/" + uid
	}
	return name + "/" + rand.Text()
}
