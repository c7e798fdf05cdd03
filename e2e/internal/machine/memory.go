package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Starve limits the memory of a process's cgroup to what it has.
func Starve(pid int) error {
	dir, limit, usage, err := memoryOf(pid)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, usage))
	if err != nil {
		return err
	}
	bytes, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	// Version 1 refuses what cannot be made true by then.
	for range 100 {
		err = os.WriteFile(filepath.Join(dir, limit), []byte(strconv.Itoa(bytes)), 0o644)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		bytes += 64 << 10
	}
	return err
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
