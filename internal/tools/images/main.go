// Command images writes the container images of Herald's daemons as OCI archives,
// each with a list of what is in it, and pushes them if it is told where to. It
// needs the go command and nothing else. `make images` calls it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/heraldlb/herald/internal/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o images.Options
	var version, platforms, dir string
	set := flag.NewFlagSet("images", flag.ExitOnError)
	set.StringVar(&dir, "tree", ".", "`folder` of the checkout")
	set.StringVar(&o.Out, "out", "bin/images", "`folder` for the archives")
	set.StringVar(&platforms, "platforms", "linux/amd64,linux/arm64", "`list` of OS/ARCH, with commas")
	set.StringVar(&version, "version", "", "`tag` to give instead of the version in the manifests")
	set.StringVar(&o.Push, "push", "", "`registry/name` to push to, as registry/name/herald-speaker and so on")
	_ = set.Parse(args) // it exits
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	for _, text := range strings.Split(platforms, ",") {
		p, err := v1.ParsePlatform(text)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return fmt.Errorf("-platforms %q: want a list like linux/amd64,linux/arm64", platforms)
		}
		o.Platforms = append(o.Platforms, *p)
	}
	var err error
	if o.Tree, err = images.ReadTree(ctx, dir, os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	if version != "" {
		o.Tree.Version = version
	}
	made, err := images.Make(ctx, o)
	if err != nil {
		return err
	}
	return report(out, made, o)
}

// report says what there is now, and how to install what was pushed.
func report(out io.Writer, made []images.Made, o images.Options) error {
	var b strings.Builder
	for _, m := range made {
		fmt.Fprintf(&b, "%s  %s\n", m.Archive, m.Digest)
	}
	if o.Push != "" {
		fmt.Fprintln(&b, "\npushed; for the kustomization.yaml that has manifests/base or an overlay under resources:\n\nimages:")
		for _, m := range made {
			fmt.Fprintf(&b, "  - {name: %s/%s, newName: %s/%[2]s, digest: %[4]s}\n", images.Repository, m.Daemon, o.Push, m.Digest)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
