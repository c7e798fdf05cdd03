package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Options say what Make makes.
type Options struct {
	Tree      Tree
	Daemons   []string      // nil: all
	Platforms []v1.Platform // required
	Out       string        // required; the folder for archives and lists
	Push      string        // REGISTRY/NAME; empty: nowhere
}

// Made is the image of one daemon.
type Made struct {
	Daemon, Archive string
	Digest          v1.Hash // of the index; what a registry calls it
	Pushed          string  // its name there, by digest; empty if it was not pushed
}

// Make compiles the daemons and writes DAEMON-VERSION.tar for each, and
// DAEMON-VERSION-OS-ARCH.cdx.json for each platform.
func Make(ctx context.Context, o Options) ([]Made, error) {
	if o.Daemons == nil {
		o.Daemons = Daemons
	}
	if _, err := name.NewTag(Repository+"/herald:"+o.Tree.Version, name.WithDefaultRegistry("docker.io")); err != nil {
		return nil, fmt.Errorf("tag %q: %w", o.Tree.Version, err)
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "herald-images-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	builds := map[string][]Built{}
	for _, p := range o.Platforms {
		dir := filepath.Join(tmp, fileName(p))
		if err := Compile(ctx, o.Tree, p, dir, o.Daemons...); err != nil {
			return nil, err
		}
		for _, d := range o.Daemons {
			builds[d] = append(builds[d], Built{Platform: p, Path: filepath.Join(dir, d)})
		}
	}
	var all []Made
	for _, d := range o.Daemons {
		m, err := finish(ctx, o, d, builds[d])
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func fileName(p v1.Platform) string { return strings.ReplaceAll(p.String(), "/", "-") }

// finish packs one daemon, writes its lists, and pushes it.
func finish(ctx context.Context, o Options, daemon string, builds []Built) (Made, error) {
	index, err := Index(o.Tree, daemon, builds)
	if err != nil {
		return Made{}, err
	}
	name := filepath.Join(o.Out, daemon+"-"+o.Tree.Version)
	m := Made{Daemon: daemon, Archive: name + ".tar"}
	if m.Digest, err = index.Digest(); err != nil {
		return m, err
	}
	if err := WriteArchive(m.Archive, o.Tree, daemon, index); err != nil {
		return m, err
	}
	for _, b := range builds {
		list, err := SBOM(o.Tree, daemon, b)
		if err != nil {
			return m, err
		}
		if err := os.WriteFile(fmt.Sprintf("%s-%s.cdx.json", name, fileName(b.Platform)), list, 0o644); err != nil {
			return m, err
		}
	}
	if o.Push != "" {
		m.Pushed, err = Push(ctx, o.Push, o.Tree, daemon, index)
	}
	return m, err
}
