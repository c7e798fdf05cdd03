package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroups = "/sys/fs/cgroup"

// hierarchies are the trees of cgroups: the one of version 2, or those of version
// 1 and what stands beside them.
func hierarchies() ([]string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(cgroups, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", cgroups, err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{cgroups}, nil
	}
	entries, err := os.ReadDir(cgroups)
	var found []string
	for _, e := range entries {
		path := filepath.Join(cgroups, e.Name())
		// A link is a second name, as cpu is of cpu,cpuacct.
		if e.IsDir() && unix.Statfs(path, &st) == nil && (st.Type == unix.CGROUP_SUPER_MAGIC || st.Type == unix.CGROUP2_SUPER_MAGIC) {
			found = append(found, path)
		}
	}
	return found, err
}

// makeCgroups makes the machine's branch in every tree.
func makeCgroups(c Config) error {
	trees, err := hierarchies()
	if err != nil {
		return err
	}
	for _, tree := range trees {
		if err := enableControllers(tree); err != nil {
			return err
		}
		branch := filepath.Join(tree, c.Cgroup)
		if err := os.Mkdir(branch, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Version 1 lets nothing into a cpuset before it has these.
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			b, err := os.ReadFile(filepath.Join(tree, f))
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(branch, f), b, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// enableControllers has branches of version 2 get what the tree has.
func enableControllers(tree string) error {
	b, err := os.ReadFile(filepath.Join(tree, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for c := range strings.FieldsSeq(string(b)) {
		if err := os.WriteFile(filepath.Join(tree, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil {
			return fmt.Errorf("controller %s: %w", c, err)
		}
	}
	return nil
}

// RemoveCgroups removes the branches whose name begins with a prefix, and ends what
// runs in them. A process that is dying holds its cgroup for some milliseconds.
func RemoveCgroups(prefix string) error {
	trees, err := hierarchies()
	if err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := removeBranches(trees, prefix)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// removeBranches returns the first thing that stood in the way.
func removeBranches(trees []string, prefix string) error {
	for _, tree := range trees {
		branches, err := filepath.Glob(filepath.Join(tree, prefix+"*"))
		if err != nil {
			return err
		}
		for _, b := range branches {
			killIn(b)
			if err := removeBranch(b); err != nil {
				return err
			}
		}
	}
	return nil
}

func killIn(branch string) {
	pids, _ := processesBelow(branch, "")
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func removeBranch(branch string) error {
	var dirs []string
	err := filepath.WalkDir(branch, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	slices.Reverse(dirs) // those below come first
	for _, d := range dirs {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.Remove(d)
		}
	}
	return err
}

// PodPIDs returns the processes of a pod in a machine's branch, as the caller's
// namespace numbers them. A pod's processes are in every tree.
func PodPIDs(cgroup, uid string) ([]int, error) {
	trees, err := hierarchies()
	if err != nil || len(trees) == 0 {
		return nil, err
	}
	return processesBelow(filepath.Join(trees[0], cgroup), "/pod"+uid)
}

// processesBelow are those of cgroups below one, of which the path has a part.
func processesBelow(branch, part string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(branch, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || !d.IsDir() || !strings.Contains(path, part) {
			return err
		}
		b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for f := range strings.FieldsSeq(string(b)) {
			// 0 is a process that our namespace does not see.
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}
