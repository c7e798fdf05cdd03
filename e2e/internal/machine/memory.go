package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// room is what is left of memory.
const room = 32 << 20

// OutOfMemory has the kernel end a process for want of memory: its cgroup gets a
// limit, something else in there takes all that is left, and the process is the
// first that the kernel picks. It returns when the something has been ended, too.
//
// A limit alone would not do it: the kernel would sooner give up the pages of the
// program itself, and read them again for ever.
func OutOfMemory(ctx context.Context, pid int) error {
	dir, limit, usage, err := memoryOf(pid)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, usage))
	if err != nil {
		return err
	}
	used, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := os.WriteFile(filepath.Join(dir, limit), []byte(strconv.Itoa(used+room)), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0o644); err != nil {
		return err
	}
	// tail keeps the last line, and this one has no end.
	glutton := exec.CommandContext(ctx, "sh", "-c", `echo $$ > "$0/cgroup.procs" && exec tail /dev/zero`, dir)
	if out, err := glutton.CombinedOutput(); glutton.ProcessState == nil || glutton.ProcessState.Exited() {
		return fmt.Errorf("use up the memory of %s: %w: %s", dir, err, out)
	}
	return ctx.Err()
}

// memoryOf is the cgroup that counts a process's memory, and the names of its files.
func memoryOf(pid int) (dir, limit, usage string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", "", "", err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(f) == 3 && f[1] == "memory" {
			return filepath.Join(cgroups, "memory", f[2]), "memory.limit_in_bytes", "memory.usage_in_bytes", nil
		}
		if len(f) == 3 && f[0] == "0" {
			dir = filepath.Join(cgroups, f[2])
		}
	}
	return dir, "memory.max", "memory.current", nil
}
