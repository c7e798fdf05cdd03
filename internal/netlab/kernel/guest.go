package kernel

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	guestVar  = "HERALD_TEST_GUEST"  // on the kernel's command line, which makes it a variable of init
	insideVar = "HERALD_TEST_INSIDE" // on the other kernel
)

// shared is where the guest sees the directory that it may write to.
const shared = "/run/host"

var guestCalled bool

// Guest makes the test binary the first process of the other kernel, if it runs
// there as that: then it does not return. Call it first in TestMain.
func Guest() {
	guestCalled = true
	dir := os.Getenv(guestVar)
	if dir == "" || os.Getpid() != 1 {
		return
	}
	if err := live(dir); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {} // the first process must not end
}

// live is the guest's life.
func live(dir string) error {
	var o order
	text, err := os.ReadFile(filepath.Join(dir, orderFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	if err := furnish(dir); err != nil {
		return err
	}
	if err := load(o.Root, append(basics, o.Modules...)); err != nil {
		return err
	}
	status, err := execute(o)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(shared, exitFile), []byte(strconv.Itoa(status)), 0o600)
}

// furnish mounts what programs expect. The machine's files are below it, read
// only; /run hides the machine's namespaces.
func furnish(dir string) error {
	for _, m := range []struct{ kind, at, data string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"tmpfs", "/run", "mode=755"}, {"hostfs", shared, machine + dir},
	} {
		if m.kind == "hostfs" {
			if err := os.Mkdir(m.at, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount("none", m.at, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.at, err)
		}
	}
	return os.Mkdir("/run/tmp", 0o777)
}

// execute runs the test binary to its end.
func execute(o order) (status int, err error) {
	// What is written must be on the host even if the guest is ended.
	out, err := os.OpenFile(filepath.Join(shared, outputFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_SYNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = out.Close() }()
	none, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(o.Args[0], o.Args, &os.ProcAttr{
		Dir: o.Dir, Env: append(o.Env, "TMPDIR=/run/tmp", "PWD="+o.Dir), Files: []*os.File{none, out, out},
	})
	if err != nil {
		return 0, err
	}
	return reap(p.Pid)
}

// reap waits for a child, and meanwhile buries orphans as a first process must.
func reap(child int) (status int, err error) {
	for {
		var s unix.WaitStatus
		pid, err := unix.Wait4(-1, &s, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == child && s.Signaled():
			return 128 + int(s.Signal()), nil
		case pid == child:
			return s.ExitStatus(), nil
		}
	}
}
