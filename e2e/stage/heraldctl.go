package stage

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/heraldlb/herald/e2e/lab"
)

// Heraldctl runs one of its commands on the cluster, and tells whether it ended with 1:
// it found something that is not as it should be.
func (s *Stage) Heraldctl(ctx context.Context, args ...string) (out string, wrong bool, err error) {
	bin, err := lab.BinDir()
	if err != nil {
		return "", false, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "heraldctl"), append(args, "--kubeconfig", s.Kubeconfig())...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return string(text), true, nil
	}
	if err != nil {
		err = fmt.Errorf("heraldctl %s: %w\n%s%s", strings.Join(args, " "), err, text, stderr.String())
	}
	return string(text), false, err
}
