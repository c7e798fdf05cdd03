package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/heraldlb/herald/e2e/lab"
)

// What `make demo` runs: eight pods, no connection lost, and the lab is told how
// to be taken down.
func TestDemo(t *testing.T) {
	out := program(t, "demo", "-name", lab.TestName(51), "-down")
	rows := regexp.MustCompile(`(?m)^  web-n\d-\d +n\d +\d+\.\d % +12\.5 %`).FindAllString(out, -1)
	if len(rows) != 8 {
		t.Errorf("%d pods in the table, want 8", len(rows))
	}
	for _, want := range []string{
		"nexthop via 10.77.0.13 dev lan0 weight 254", "10000 connections, 0 failed; the pods saw the client as 10.88.0.10",
		"HERALD COUNTED", "pod run web-n1-1", "cut n2", " down",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the demo's output", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// What `make bench` runs, in small.
func TestBench(t *testing.T) {
	out := program(t, "bench", "-name", lab.TestName(52), "-runs", "2", "-many", "20")
	for _, want := range []string{"address in status", "in the router's FIB", "first good answer", "20 Services created at once"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the benchmark's output:\n%s", want, out)
		}
	}
}

func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	bin, err := lab.BinDir()
	must(t, err)
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// FRR accepts what the README tells users to write into their router.
func TestFRRAcceptsTheREADME(t *testing.T) {
	module, err := lab.ModuleDir()
	must(t, err)
	readme, err := os.ReadFile(filepath.Join(filepath.Dir(module), "README.md"))
	must(t, err)
	_, block, found := strings.Cut(string(readme), "   router bgp 64512\n")
	block, _, ended := strings.Cut(block, "   ```")
	if !found || !ended {
		t.Fatal("the README has no block that begins with router bgp 64512")
	}
	for _, frr := range []string{"frr-8.4", lab.DefaultRouter, "frr-sid"} {
		if err := lab.CheckConfig(t.Context(), frr, t.TempDir(), "router bgp 64512\n"+strings.ReplaceAll(block, "\n   ", "\n")); err != nil {
			t.Errorf("%s: %v", frr, err)
		}
	}
}
