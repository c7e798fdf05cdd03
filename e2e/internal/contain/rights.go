package contain

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capabilities by the names that a manifest uses, in the kernel's order.
var capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// KnownCapability tells if the kernel has a capability of this name.
func KnownCapability(name string) bool { return slices.Contains(capabilities, name) }

// AllCapabilities names every one.
func AllCapabilities() []string { return slices.Clone(capabilities) }

// dropRights leaves the calling thread, and so the program that it executes,
// with no more than the specification grants. Kubernetes sets no ambient
// capabilities: a user that is not root holds none, whatever the pod adds.
func dropRights(s Spec) error {
	if !s.Privileged {
		if err := limitCapabilities(s.Capabilities); err != nil {
			return err
		}
	}
	if err := changeUser(s); err != nil {
		return err
	}
	if err := clearInheritable(); err != nil {
		return err
	}
	if !s.NoNewPrivs {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return nil
}

// limitCapabilities cuts the bounding set: exec gives root exactly that set.
func limitCapabilities(keep []string) error {
	kept := map[string]bool{}
	for _, c := range keep {
		kept[c] = true
	}
	for n, name := range capabilities {
		if kept[name] {
			continue
		}
		// A kernel older than our table does not know the last ones.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("drop capability %s: %w", name, err)
		}
	}
	return nil
}

// changeUser makes raw calls: the functions of package syscall change all
// threads, which needs them to have the same rights.
func changeUser(s Spec) error {
	groups := s.Groups
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); e != 0 {
		return fmt.Errorf("set groups %v: %w", groups, e)
	}
	runtime.KeepAlive(groups)
	gid, uid := uintptr(s.GID), uintptr(s.UID)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); e != 0 {
		return fmt.Errorf("set group %d: %w", s.GID, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); e != 0 {
		return fmt.Errorf("set user %d: %w", s.UID, e)
	}
	return nil
}

func clearInheritable() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}
