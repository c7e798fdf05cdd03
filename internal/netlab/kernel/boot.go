package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the host and the guest leave for each other in a directory.
const (
	orderFile   = "order"
	outputFile  = "output"
	exitFile    = "exit"
	consoleFile = "console"
)

// order is what the guest shall do.
type order struct {
	Args    []string // the test binary and its arguments
	Env     []string
	Dir     string // to run it in
	Modules []string
	Root    string // of the kernel's package
}

// run boots the other kernel, and returns when it is gone.
func run(t *testing.T, o order, limit time.Duration) (r result) {
	t.Helper()
	// A name that netlab.Reap knows, in case we are killed.
	dir, err := os.MkdirTemp("", fmt.Sprintf("herald-%d-kernel-", os.Getpid()))
	if err != nil {
		return result{err: err}
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := prepare(dir, o); err != nil {
		return result{err: err}
	}
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	began := time.Now()
	r.err = boot(ctx, dir, o.Root)
	t.Logf("User Mode Linux was there for %v", time.Since(began).Round(10*time.Millisecond))
	r.exit, r.output, r.console = read(dir, exitFile), read(dir, outputFile), read(dir, consoleFile)
	return r
}

func read(dir, file string) string {
	b, _ := os.ReadFile(filepath.Join(dir, file)) // what is not there says enough
	return string(b)
}

// prepare writes the order, and names the binary without spaces, which the
// kernel's command line cannot hold.
func prepare(dir string, o order) error {
	var err error
	if o.Dir, err = os.Getwd(); err != nil {
		return err
	}
	o.Env = append(o.Env, "PATH="+os.Getenv("PATH"), "HOME="+dir, "CI=true", insideVar+"=1")
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, orderFile), text, 0o600); err != nil {
		return err
	}
	return os.Symlink(o.Args[0], filepath.Join(dir, "init"))
}

// machine is where the kernel sees the machine's files.
const machine = "/machine"

// intoRoot is a shell's way into the root of the kernel's package, since the kernel
// needs the C library of its own release.
const intoRoot = `root=$1; shift
mkdir -p "$root/machine" &&
mount --make-rprivate / &&
mount --rbind / "$root/machine" &&
mount -t proc proc "$root/proc" &&
mount --rbind /dev "$root/dev" &&
chroot "$root" "/usr/bin/$@"
exit $?`

// boot runs the kernel to its end. It lives in a namespace of processes, so that
// its helpers, of which it has one for each process inside, end with it; and it
// ends with us, whatever ends us. The first process of the namespace is a shell,
// since the kernel ends itself by a signal when it panics, and a first process
// would not heed that.
func boot(ctx context.Context, dir, root string) error {
	if strings.ContainsAny(dir, " \t\"") {
		return fmt.Errorf("directory for temporary files %q: has spaces or quotes", dir)
	}
	console, err := os.Create(filepath.Join(dir, consoleFile))
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }()
	cmd := exec.CommandContext(ctx, "sh", "-c", intoRoot, "sh", root, program, "mem=512M", "root=/dev/root", "rootfstype=hostfs", "rootflags="+machine, "ro", "quiet",
		"con=null", "con0=null,fd:1", "uml_dir="+machine+dir, "init="+filepath.Join(dir, "init"), guestVar+"="+dir)
	// Its memory is a file, in here rather than in a /dev/shm that may be small.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + machine + dir}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	// The death signal comes when the thread ends that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: took too long: %w", program, ctx.Err())
	case errors.As(err, &exit):
		return nil // also after a good power off, on some versions; the exit file tells
	case err != nil:
		return fmt.Errorf("start %s: %w", program, err)
	}
	return nil
}
