// Command tests runs the tests of both modules and writes their test2json lines as
// one stream, for gotestsum. Most of their time is waiting, so several packages run at
// the same time, the longest first: three of the product's module. Of the lab's it is
// one: with two, which -lab 2 makes it, some test with a bound on time fails in every
// other run on two cores. At the end it lists the slowest tests.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// kubernetes is the one package that imports all of it. It has no tests, and go test
// would compile and vet its 2,700 packages once more.
const kubernetes = "/e2e/cmd/kube"

// longest are packages that take minutes, in this order. Those that begin last
// would otherwise run alone at the end.
var longest = []string{
	"/speaker/bgp", "/speaker/l2", "/dataplane", "/cmd/herald-allocator",
	"/e2e/kubelet", "/e2e/sessions", "/e2e/rescue", "/e2e/layer2", "/e2e", "/e2e/routers", "/e2e/lab",
}

// suite is one run of go test.
type suite struct {
	dir  string
	env  []string
	args []string

	atOnce   int // packages
	packages []string
}

func main() {
	product := flag.Int("product", 3, "`number` of packages of the product's module at the same time")
	lab := flag.Int("lab", 1, "`number` of packages of the lab's module at the same time")
	slowest := flag.Int("slowest", 10, "`number` of tests to list at the end")
	flag.Parse()
	out := &stream{w: os.Stdout, took: map[string]float64{}}
	err := run(out, []suite{
		{dir: ".", env: []string{"CGO_ENABLED=1"}, args: []string{"-race"}, atOnce: *product},
		{dir: "e2e", env: []string{"CGO_ENABLED=0"}, atOnce: *lab},
	})
	out.list(*slowest)
	if err != nil {
		fmt.Fprintln(out, "tests:", err)
		os.Exit(1)
	}
}

// run compiles all suites before it runs any: a compiler beside a test that has a
// bound on time is no help. What fails to compile is told by the run itself.
func run(out *stream, suites []suite) error {
	for i := range suites {
		s := &suites[i]
		fmt.Fprintf(out, "tests: compiling %s\n", s.dir)
		if err := s.find(); err != nil {
			return err
		}
		cmd := s.command(append([]string{"test", "-run", "^$"}, append(s.args, s.packages...)...)...)
		cmd.Stderr = os.Stdout
		_ = cmd.Run()
	}
	var failed []error
	for _, s := range suites {
		failed = append(failed, s.run(out))
	}
	return errors.Join(failed...)
}

// find lists the packages, the longest first.
func (s *suite) find() error {
	cmd := s.command("list", "./...")
	cmd.Stderr = os.Stdout
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list in %s: %w", s.dir, err)
	}
	for _, p := range strings.Fields(string(text)) {
		if !strings.HasSuffix(p, kubernetes) {
			s.packages = append(s.packages, p)
		}
	}
	slices.SortStableFunc(s.packages, func(a, b string) int { return rank(a) - rank(b) })
	return nil
}

func rank(pkg string) int {
	if i := slices.Index(longest, name(pkg)); i >= 0 {
		return i
	}
	return len(longest)
}

// name is the package's folder.
func name(pkg string) string { return strings.TrimPrefix(pkg, "github.com/heraldlb/herald") }

func (s suite) command(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	return cmd
}

func (s suite) run(out *stream) error {
	args := []string{"test", "-json", "-shuffle=on", "-timeout", "40m", "-p", fmt.Sprint(s.atOnce)}
	cmd := s.command(append(append(args, s.args...), s.packages...)...)
	cmd.Stderr = out
	r, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		out.take(line)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return errors.Join(err, cmd.Wait())
			}
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go test in %s: %w", s.dir, err)
	}
	return nil
}

// stream joins lines, and remembers how long each test took.
type stream struct {
	mu   sync.Mutex
	w    io.Writer
	took map[string]float64 // seconds, by package and test
}

// Write implements io.Writer for what is not JSON.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

func (s *stream) take(line []byte) {
	var e struct {
		Action, Package, Test string
		Elapsed               float64
	}
	_, _ = s.Write(line) // standard output's errors have no other way out
	if json.Unmarshal(line, &e) != nil || e.Test == "" || strings.Contains(e.Test, "/") || e.Elapsed == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took[path.Join(strings.TrimPrefix(e.Package, "github.com/heraldlb/herald"), e.Test)] = e.Elapsed
}

// list writes the slowest tests.
func (s *stream) list(n int) {
	var names []string
	for name := range s.took {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(s.took[b], s.took[a]), cmp.Compare(a, b)) })
	fmt.Fprintf(s, "\nthe %d slowest of %d tests:\n", min(n, len(names)), len(names))
	for _, name := range names[:min(n, len(names))] {
		fmt.Fprintf(s, "  %8s  %s\n", time.Duration(s.took[name]*float64(time.Second)).Round(100*time.Millisecond), strings.TrimPrefix(name, "/"))
	}
}
