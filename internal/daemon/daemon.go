// Package daemon is what the command lines of Herald's daemons have in common.
package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
)

// version is set by the linker; see the Makefile.
var version = ""

// Flags are common to all daemons.
type Flags struct {
	Kubeconfig, Namespace string
	Address               string
	LogLevel              slog.Level
	LogFormat             string
	Version               bool

	set *flag.FlagSet
}

// NewFlags registers the common flags of the named program. Register others with
// Set before Parse.
func NewFlags(program, address string, errOut io.Writer) *Flags {
	f := &Flags{set: flag.NewFlagSet(program, flag.ContinueOnError)}
	f.set.SetOutput(errOut)
	f.set.StringVar(&f.Kubeconfig, "kubeconfig", "", "`file` to reach the API server with; empty: the pod's service account")
	f.set.StringVar(&f.Namespace, "namespace", EnvOr("POD_NAMESPACE", "herald-system"), "`namespace` of Herald's own objects")
	f.set.StringVar(&f.Address, "metrics-address", address, "`address` of /metrics, /healthz, /readyz and /state")
	f.set.TextVar(&f.LogLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.set.StringVar(&f.LogFormat, "log-format", "text", "text or json")
	f.set.BoolVar(&f.Version, "version", false, "print the version and exit")
	return f
}

// Set is where flags of one program are registered.
func (f *Flags) Set() *flag.FlagSet { return f.set }

// Parse reads the arguments; check may refuse them and may be nil. What is wrong
// has been printed when it returns an error.
func (f *Flags) Parse(args []string, check func() error) error {
	if err := f.set.Parse(args); err != nil {
		return err
	}
	var err error
	switch {
	case f.set.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.set.Arg(0))
	case f.LogFormat != "text" && f.LogFormat != "json":
		err = fmt.Errorf("--log-format %q: want text or json", f.LogFormat)
	case check != nil && !f.Version:
		err = check()
	}
	if err != nil {
		_, _ = fmt.Fprintf(f.set.Output(), "%s: %v\n", f.set.Name(), err)
	}
	return err
}

// ExitCode is what a program exits with after Parse returned err.
func ExitCode(err error) int {
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	return 2
}

// Logger writes as the flags say.
func (f *Flags) Logger(w io.Writer) *slog.Logger {
	h := &slog.HandlerOptions{Level: f.LogLevel}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, h))
	}
	return slog.New(slog.NewTextHandler(w, h))
}

// EnvOr is an environment variable's value, or otherwise if it is empty.
func EnvOr(key, otherwise string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return otherwise
}

// Version is what the linker was told, or else what the go command knows.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
