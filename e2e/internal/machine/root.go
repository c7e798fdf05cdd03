package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tunables are settings of the kernel that no namespace has and that a kubelet
// wants to change. It gets copies.
var tunables = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

type mount struct {
	source, target string // the target is below the machine's root
	kind           string // empty: bind
	flags          uintptr
	data           string
}

// makeRoot mounts the machine's root at Dir/root.
func makeRoot(c Config) error {
	if err := unix.Sethostname([]byte(c.Node)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	// Nothing that is mounted from here on may be seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, d := range []string{"root", "upper", "work", "containerd", "kubelet", "tunables"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, d), 0o755); err != nil {
			return err
		}
	}
	in := func(name string) string { return filepath.Join(c.Dir, name) }
	mounts := []mount{
		{"overlay", "/", "overlay", 0, "lowerdir=" + c.Part + ",upperdir=" + in("upper") + ",workdir=" + in("work")},
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},          // that of this network namespace
		{"tmpfs", cgroups, "tmpfs", 0, "mode=755"}, // elogind adds a tree
		{"/dev", "/dev", "", unix.MS_REC, ""},
		{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
		// An overlay cannot stand on an overlay.
		{in("containerd"), "/var/lib/containerd", "", 0, ""},
		{in("kubelet"), "/var/lib/kubelet", "", 0, ""},
		{c.BinDir, programs, "", 0, ""},
	}
	trees, err := hierarchies()
	if err != nil {
		return err
	}
	for _, t := range trees {
		mounts = append(mounts, mount{t, t, "", 0, ""})
	}
	for _, t := range tunables {
		copied, err := copyTunable(in("tunables"), t)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		mounts = append(mounts, mount{copied, "/proc/sys/" + t, "", 0, ""})
	}
	for _, m := range mounts {
		if err := m.do(in("root")); err != nil {
			return err
		}
	}
	return nil
}

func (m mount) do(root string) error {
	target := filepath.Join(root, m.target)
	if _, err := os.Lstat(target); err != nil {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	}
	if m.kind == "" {
		m.flags |= unix.MS_BIND
	}
	if err := unix.Mount(m.source, target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.source, target, err)
	}
	return nil
}

func copyTunable(dir, name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, filepath.Base(name))
	return file, os.WriteFile(file, b, 0o644)
}

// enterRoot makes Dir/root the root, and lets go of the old one.
func enterRoot(c Config) error {
	if err := os.Chdir(filepath.Join(c.Dir, "root")); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	// What the kubelet mounts for a pod, containerd must pass on to its containers.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	return os.Chdir("/")
}
