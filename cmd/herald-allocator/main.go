// Command herald-allocator hands out addresses to Services of type LoadBalancer.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker; see the Makefile.
var version = ""

func main() {
	o, err := parseFlags(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2) // parseFlags has said why
	}
	if o.version {
		fmt.Println("herald-allocator", versionText())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := logger(os.Stderr, o)
	if err := run(ctx, o, log); err != nil {
		log.Error("allocator failed", "err", err)
		os.Exit(1)
	}
}

type options struct {
	kubeconfig, namespace string
	configMap, accepted   string
	lease, identity       string
	address               string
	logLevel              slog.Level
	logFormat             string
	version               bool
}

func parseFlags(args []string, errOut io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("herald-allocator", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` to reach the API server with; empty: the pod's service account")
	f.StringVar(&o.namespace, "namespace", envOr("POD_NAMESPACE", "herald-system"), "`namespace` of Herald's own objects")
	f.StringVar(&o.configMap, "config-map", "herald", "`name` of the ConfigMap that the user writes")
	f.StringVar(&o.accepted, "accepted-config-map", "herald-accepted", "`name` of the ConfigMap that is published for the speakers")
	f.StringVar(&o.lease, "lease", "herald-allocator", "`name` of the Lease that decides which replica leads")
	f.StringVar(&o.identity, "identity", identity(), "`name` of this replica in the Lease; no two may have the same")
	f.StringVar(&o.address, "metrics-address", ":7472", "`address` of /metrics, /healthz, /readyz and /state")
	f.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var err error
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.logFormat != "text" && o.logFormat != "json":
		err = fmt.Errorf("--log-format %q: want text or json", o.logFormat)
	}
	if err != nil {
		_, _ = fmt.Fprintln(errOut, "herald-allocator:", err)
	}
	return o, err
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

func envOr(key, otherwise string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return otherwise
}

func logger(w io.Writer, o options) *slog.Logger {
	h := &slog.HandlerOptions{Level: o.logLevel}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, h))
	}
	return slog.New(slog.NewTextHandler(w, h))
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
