package contain

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Nothing but read-only kernel views and null devices: the image of a Go
// program is empty but for the program.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// readOnlyProc is what an unprivileged container may look at and not change.
var readOnlyProc = []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"}

// buildRoot makes the container's file tree on a tmpfs and leaves no other
// visible. All of it is in this process's mount namespace: it goes away with
// the process, and the machine never sees it.
func buildRoot(s Spec) error {
	steps := []func(Spec) error{
		mountRoot, addImage, addKernelViews, addDevices, addMounts, pivot, sealRoot,
	}
	for _, step := range steps {
		if err := step(s); err != nil {
			return err
		}
	}
	return nil
}

func mountRoot(s Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := mount("tmpfs", s.Root, "tmpfs", 0, "mode=0755,size=256m"); err != nil {
		return err
	}
	for _, dir := range []string{"dev", "etc", "proc", "run", "sys", "var"} {
		if err := os.Mkdir(filepath.Join(s.Root, dir), 0o755); err != nil {
			return err
		}
	}
	tmp := filepath.Join(s.Root, "tmp")
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return err
	}
	return os.Chmod(tmp, 0o777|os.ModeSticky)
}

func addImage(s Spec) error {
	if s.Binary != "" {
		m := Mount{Source: s.Binary, Target: "/" + filepath.Base(s.Binary), ReadOnly: true}
		if err := addMount(s.Root, m); err != nil {
			return err
		}
	}
	if !s.Userland {
		return nil
	}
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives", "/etc/iproute2"} {
		if err := addUserland(s.Root, dir); err != nil {
			return err
		}
	}
	return nil
}

// addUserland shows one directory of the machine; where /bin is a link to
// usr/bin, the link is enough.
func addUserland(root, dir string) error {
	st, err := os.Lstat(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode()&os.ModeSymlink == 0 {
		return addMount(root, Mount{Source: dir, Target: dir, ReadOnly: true})
	}
	to, err := os.Readlink(dir)
	if err != nil {
		return err
	}
	return os.Symlink(to, filepath.Join(root, dir))
}

func addKernelViews(s Spec) error {
	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	proc := filepath.Join(s.Root, "proc")
	if err := mount("proc", proc, "proc", safe, ""); err != nil {
		return err
	}
	sysFlags := uintptr(safe | unix.MS_RDONLY)
	if s.Privileged {
		sysFlags = safe
	}
	if err := mount("sysfs", filepath.Join(s.Root, "sys"), "sysfs", sysFlags, ""); err != nil {
		return err
	}
	if s.Privileged {
		return nil
	}
	for _, dir := range readOnlyProc {
		at := filepath.Join(s.Root, dir)
		if _, err := os.Lstat(at); err != nil {
			continue
		}
		if err := bind(at, at, true); err != nil {
			return err
		}
	}
	return nil
}

func addDevices(s Spec) error {
	dev := filepath.Join(s.Root, "dev")
	if s.Privileged {
		return bind("/dev", dev, false)
	}
	if err := mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=0755,size=64k"); err != nil {
		return err
	}
	for _, name := range devices {
		if err := addMount(s.Root, Mount{Source: "/dev/" + name, Target: "/dev/" + name}); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := os.Symlink("/proc/self/fd"+to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	shm := filepath.Join(dev, "shm")
	if err := os.Mkdir(shm, 0o755); err != nil {
		return err
	}
	return mount("shm", shm, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size=64m")
}

// addMounts goes from the outside in, so that a volume may lie inside another.
func addMounts(s Spec) error {
	mounts := slices.Clone(s.Mounts)
	slices.SortStableFunc(mounts, func(a, b Mount) int {
		return strings.Count(filepath.Clean(a.Target), "/") - strings.Count(filepath.Clean(b.Target), "/")
	})
	for _, m := range mounts {
		if err := addMount(s.Root, m); err != nil {
			return err
		}
	}
	return nil
}

func addMount(root string, m Mount) error {
	target := filepath.Join(root, m.Target)
	st, err := os.Stat(m.Source)
	if err != nil {
		return fmt.Errorf("mount at %s: %w", m.Target, err)
	}
	if err := makeMountPoint(target, st.IsDir()); err != nil {
		return fmt.Errorf("mount at %s: %w", m.Target, err)
	}
	return bind(m.Source, target, m.ReadOnly)
}

func makeMountPoint(target string, isDir bool) error {
	if isDir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func pivot(s Spec) error {
	if err := unix.Chdir(s.Root); err != nil {
		return err
	}
	// Root and its put-old place may be the same directory: the old tree then
	// lies on top of the new one and is taken off.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot to %s: %w", s.Root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the old root: %w", err)
	}
	return unix.Chdir("/")
}

func sealRoot(s Spec) error {
	if !s.ReadOnlyRoot {
		return nil
	}
	return remountReadOnly("/")
}

func bind(source, target string, readOnly bool) error {
	if err := mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !readOnly {
		return nil
	}
	return remountReadOnly(target)
}

// remountReadOnly seals one mount, not the file system below it.
func remountReadOnly(target string) error {
	return mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s%s at %s: %w", fstype, source, target, err)
	}
	return nil
}
