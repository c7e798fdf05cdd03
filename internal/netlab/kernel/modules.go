package kernel

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// basics are what every test network needs.
var basics = []string{"ipv6", "veth", "bridge"}

// modulesDir is where the package has its modules, in its root.
const modulesDir = "usr/lib/uml/modules"

// load loads modules of the package in a root, and what they depend on. A small Debian has no modprobe.
func load(root string, names []string) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	dir := filepath.Join(root, modulesDir, unix.ByteSliceToString(u.Release[:]))
	text, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return err
	}
	for _, name := range names {
		files := filesOf(string(text), name)
		if _, err := os.Stat("/proc/net/if_inet6"); name == "ipv6" && err == nil {
			continue // newer kernels have it in themselves
		}
		if files == nil {
			return fmt.Errorf("module %s: not in %s", name, dir)
		}
		for _, f := range files {
			if err := insert(filepath.Join(dir, f)); err != nil {
				return fmt.Errorf("load %s for %s: %w", f, name, err)
			}
		}
	}
	return nil
}

// filesOf are a module's files in the order in which they must be loaded:
// modules.dep has the module, a colon, and the deepest dependency last.
func filesOf(dep, name string) []string {
	for line := range strings.Lines(dep) {
		file, others, _ := strings.Cut(strings.TrimSpace(line), ":")
		if path.Base(file) == name+".ko" {
			files := append([]string{file}, strings.Fields(others)...)
			slices.Reverse(files)
			return files
		}
	}
	return nil
}

func insert(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
