package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

const modulePath = "github.com/heraldlb/herald/e2e"

// ldflags must stay the same from build to build, or the linker works again.
const ldflags = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3" +
	" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36" +
	" -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3"

// components are the names that the multi-call binary kube answers to.
var components = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"}

// ModuleDir finds the source of this module: above the working directory, or
// above the running program.
func ModuleDir() (string, error) {
	starts := []string{"."}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, s := range starts {
		if dir, ok := moduleAbove(s); ok {
			return dir, nil
		}
	}
	return "", errors.New("find the lab's source: no go.mod of " + modulePath + " here or above; go to the checkout's e2e folder")
}

func moduleAbove(dir string) (string, bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false
	}
	for {
		// The checkout's root counts too: that is where people stand.
		for _, d := range []string{dir, filepath.Join(dir, "e2e")} {
			b, err := os.ReadFile(filepath.Join(d, "go.mod"))
			if err == nil && strings.HasPrefix(string(b), "module "+modulePath+"\n") {
				return d, true
			}
		}
		if dir == filepath.Dir(dir) {
			return "", false
		}
		dir = filepath.Dir(dir)
	}
}

// BinDir is where Build puts programs: e2e/bin of the checkout.
func BinDir() (string, error) {
	dir, err := ModuleDir()
	return filepath.Join(dir, "bin"), err
}

// Build builds what the lab needs: Kubernetes, the lab's own tools, and Herald.
// What is up to date costs seconds.
func Build(ctx context.Context, w io.Writer) error {
	dir, err := ModuleDir()
	if err != nil {
		return err
	}
	return errors.Join(BuildLab(ctx, w), goBuild(ctx, w, filepath.Dir(dir), filepath.Join(dir, "bin")))
}

// BuildLab is Build without Herald.
func BuildLab(ctx context.Context, w io.Writer) error {
	dir, err := ModuleDir()
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	// Tests of several packages may want the same programs at once.
	unlock, err := lock(bin, time.Hour)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(bin, "kube")); err != nil {
		fmt.Fprintln(w, "building Kubernetes v1.36.3 and etcd from source; the first time takes 6 to 12 minutes on two cores")
	}
	if err := goBuild(ctx, w, dir, bin); err != nil {
		return err
	}
	return linkComponents(bin)
}

// Install builds a program of another module, as in `go install PACKAGE@VERSION`,
// into BinDir. It costs this module no dependency.
func Install(ctx context.Context, w io.Writer, program string) error {
	dir, err := ModuleDir()
	if err != nil {
		return err
	}
	cmd := goCommand(ctx, dir, "install", "-trimpath", "-ldflags", "-s -w", program)
	cmd.Env = append(cmd.Env, "GOBIN="+filepath.Join(dir, "bin"))
	fmt.Fprintln(w, "building", program)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}

func linkComponents(bin string) error {
	for _, c := range components {
		link := filepath.Join(bin, c)
		if to, err := os.Readlink(link); err == nil && to == "kube" {
			continue
		}
		_ = os.Remove(link)
		if err := os.Symlink("kube", link); err != nil {
			return err
		}
	}
	return nil
}

// goBuild builds every program of a module and counts the packages meanwhile.
func goBuild(ctx context.Context, w io.Writer, dir, bin string) error {
	programs, err := mainPackages(dir)
	if err != nil || len(programs) == 0 {
		return err
	}
	// The commit is not written into programs, or each would mean to link all again.
	args := append([]string{"build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", bin + "/"}, programs...)
	cmd := goCommand(ctx, dir, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "building %s\n", strings.Join(programs, " "))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("build %s: %w", dir, err)
	}
	said := watchBuild(ctx, w, stderr)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", dir, err, said)
	}
	return nil
}

func mainPackages(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "cmd", "*", "main.go"))
	for i, f := range found {
		found[i] = "./cmd/" + filepath.Base(filepath.Dir(f))
	}
	return found, err
}

// goProgram is the go command that the Makefile's setup found, else any.
func goProgram(dir string) string {
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if b, err := os.ReadFile(filepath.Join(d, ".go-command")); err == nil && len(b) > 1 {
			return strings.TrimSpace(string(b))
		}
	}
	return "go"
}

func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, goProgram(dir), args...)
	cmd.Dir = dir
	// Other values would be another key in the build cache.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	return cmd
}

// watchBuild reads what go says to its end, and shows that it goes on. A line
// without a space is a package that was compiled; the others are returned.
func watchBuild(ctx context.Context, w io.Writer, stderr io.Reader) string {
	var compiled atomic.Int64
	ctx, done := context.WithCancel(ctx)
	defer done()
	go showProgress(ctx, w, &compiled)
	var said []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.Contains(lines.Text(), " ") {
			said = append(said, lines.Text())
			continue
		}
		compiled.Add(1)
	}
	return strings.Join(said, "\n")
}

func showProgress(ctx context.Context, w io.Writer, compiled *atomic.Int64) {
	began := time.Now()
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// The whole of Kubernetes is some 2,000 packages; the linker comes last and silent.
			fmt.Fprintf(w, "  %5s  %d packages compiled\n", time.Since(began).Round(time.Second), compiled.Load())
		}
	}
}
