package podnet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

func ip(ctx context.Context, args ...string) error {
	return run(exec.CommandContext(ctx, "ip", args...))
}

// ipBatch runs several lines of ip in one process. Lines are formats, each
// followed by its arguments.
func ipBatch(ctx context.Context, flags []string, parts ...any) error {
	cmd := exec.CommandContext(ctx, "ip", append(flags, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(strings.Join(batchLines(parts), "\n") + "\n")
	return run(cmd)
}

func batchLines(parts []any) []string {
	var lines []string
	for i := 0; i < len(parts); {
		format := parts[i].(string)
		args := strings.Count(format, "%s")
		lines = append(lines, fmt.Sprintf(format, parts[i+1:i+1+args]...))
		i += 1 + args
	}
	return lines
}

func run(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// InNetNS calls f on a thread that is in the network namespace at path. The
// thread is not used for anything else afterwards.
func InNetNS(path string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- enterAndCall(path, f)
	}()
	return <-done
}

func enterAndCall(path string, f func() error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", path, err)
	}
	return f()
}

// noAddressDetection switches duplicate address detection off for all links
// that the calling thread's network namespace will get.
func noAddressDetection() error {
	for _, conf := range []string{"all", "default"} {
		if err := SetSysctl("net.ipv6.conf."+conf+".accept_dad", "0"); err != nil {
			return err
		}
	}
	return nil
}

// SetSysctl sets a kernel parameter of the calling thread's namespaces.
func SetSysctl(name, value string) error {
	file := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
	if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
		return fmt.Errorf("sysctl %s: %w", name, err)
	}
	return nil
}
