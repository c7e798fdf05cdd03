package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testBinary is a program with the running tests that the other kernel can run.
// A process has 512 GB of addresses there, of which the race detector wants more,
// so that a binary with it is compiled once more, without.
func testBinary(t *testing.T) (string, error) {
	if !raced {
		return os.Executable()
	}
	file := filepath.Join(t.TempDir(), "test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-race=false", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the tests without the race detector: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return file, nil
}
