package netlab

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The routers that tests run unless they say which: those of Debian's stable
// release. e2e/parts.sh fetches them, and `e2e/parts.sh list` lists them all.
const (
	DefaultFRR  = "frr-10.3"
	DefaultBIRD = "bird-2.17"
)

// All routers that can weight, oldest first. What is sid's changes with time.
var (
	FRRs  = []string{"frr-7.5", "frr-8.4", "frr-10.3", "frr-sid"}
	BIRDs = []string{"bird-2.0", "bird-2.17", "bird-sid", "bird-3", "bird3-sid"}
)

// InPart is the command line of a program of another release of Debian, in a root
// of its own. Of the machine's files it sees dir alone, and /dev and /proc.
func InPart(part, dir, program string, args ...string) []string {
	return slices.Concat([]string{partsScript(), "exec", part, dir, program}, args)
}

// Part makes sure that a part is there, which takes seconds the first time, and
// returns its root.
func Part(tb testing.TB, part string) (root string) {
	tb.Helper()
	var said strings.Builder
	cmd := exec.Command(partsScript(), "root", part)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("netlab: fetch %s: %v: %s", part, err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out))
}

func partsScript() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "e2e", "parts.sh")
}
