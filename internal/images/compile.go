package images

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// settings are those of the go command that change what comes out. Each is set,
// so that nothing of the machine's own goes in.
func settings(p v1.Platform) []string {
	return []string{
		"CGO_ENABLED=0", "GOOS=" + p.OS, "GOARCH=" + p.Architecture, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off",
	}
}

// Compile builds the daemons for a platform into the folder out.
func Compile(ctx context.Context, t Tree, p v1.Platform, out string, daemons ...string) error {
	args := []string{
		"build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/heraldlb/herald/internal/daemon.version=" + t.binaryVersion(),
		"-o", out + "/",
	}
	for _, d := range daemons {
		args = append(args, "./cmd/"+d)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = t.Dir
	cmd.Env = slices.Concat(os.Environ(), settings(p))
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s for %s: %w\n%s", strings.Join(daemons, ", "), p, err, said)
	}
	return nil
}
