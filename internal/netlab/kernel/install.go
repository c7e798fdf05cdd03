package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	program       = "linux.uml"
	debianPackage = "user-mode-linux"
)

// install installs the kernel where it is missing, and says so. Nothing of it
// starts by itself.
func install(t *testing.T) error {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("install " + debianPackage + ": not root")
	}
	unlock, err := alone()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := exec.LookPath(program); err == nil {
		return nil // meanwhile
	}
	t.Log("installing with apt-get: " + debianPackage)
	if err := aptGet("update", "-qq"); err != nil {
		return err
	}
	return aptGet("install", "-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", debianPackage)
}

// alone keeps the tests of other packages out: apt-get update waits for nobody.
func alone() (unlock func(), err error) {
	f, err := os.Open("/var/lib/dpkg") // dpkg's own locks are of another sort
	if err != nil {
		return nil, fmt.Errorf("install %s: not Debian: %w", debianPackage, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

func aptGet(args ...string) error {
	cmd := exec.Command("apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
