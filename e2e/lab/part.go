package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The routers of Debian's stable release, which run unless another is asked for.
// parts.sh fetches them into a root of their own: nothing is installed.
const (
	DefaultRouter = "frr-10.3"
	DefaultBIRD   = "bird-2.17"
)

// InPart is the command line of a program of another release of Debian. Of the
// machine's files it sees dir alone, and /dev and /proc.
func InPart(part, dir, program string, args ...string) ([]string, error) {
	script, err := partsScript()
	return slices.Concat([]string{script, "exec", part, dir, program}, args), err
}

// Part makes sure that a part is there, which takes seconds the first time.
func Part(ctx context.Context, part string) error {
	_, err := partRoot(ctx, part)
	return err
}

func partRoot(ctx context.Context, part string) (string, error) {
	script, err := partsScript()
	if err != nil {
		return "", err
	}
	out, err := run(ctx, "", script, "root", part)
	return strings.TrimSpace(out), err
}

// Parts lists what there is: names, where they come from, and their versions.
func Parts(ctx context.Context) (string, error) {
	script, err := partsScript()
	if err != nil {
		return "", err
	}
	return run(ctx, "", script, "list")
}

func partsScript() (string, error) {
	dir, err := ModuleDir()
	return filepath.Join(dir, "parts.sh"), err
}

// checkRouter refuses a router that there is none of.
func checkRouter(ctx context.Context, name string) error {
	list, err := Parts(ctx)
	if err != nil {
		return err
	}
	var routers []string
	for _, line := range strings.Split(strings.TrimSpace(list), "\n") {
		if f := strings.Fields(line); strings.HasPrefix(f[0], "frr") || strings.HasPrefix(f[0], "bird") {
			routers = append(routers, f[0])
		}
	}
	if !slices.Contains(routers, name) {
		return fmt.Errorf("router %q: write one of %s", name, strings.Join(routers, ", "))
	}
	return nil
}

// inPart is a command in a part, for programs that need no network.
func (l *Lab) inPart(ctx context.Context, part, dir, program string, args ...string) (string, error) {
	argv, err := InPart(part, dir, program, args...)
	if err != nil {
		return "", err
	}
	return output(exec.CommandContext(ctx, argv[0], argv[1:]...), "")
}

// CheckConfig has a router's own program read a configuration, in a directory of
// the caller's.
func CheckConfig(ctx context.Context, part, dir, text string) error {
	file := filepath.Join(dir, part+".conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	program, args := "/usr/bin/vtysh", []string{"--dryrun", "--inputfile", file, "--config_dir", dir}
	if strings.HasPrefix(part, "bird") {
		program, args = "/usr/sbin/bird", []string{"-p", "-c", file}
	}
	argv, err := InPart(part, dir, program, args...)
	if err != nil {
		return err
	}
	_, err = run(ctx, "", argv...)
	return err
}
