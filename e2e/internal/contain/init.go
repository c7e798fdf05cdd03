package contain

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// initName as the program's own name marks the second start.
const initName = "contain-init"

const (
	specFD = 3
	failFD = 4
)

// The container's first process starts here and not in main, because the
// packages of client-go take longer to initialise than the whole container; by
// the order of initialisation (import path) this one comes before them.
func init() {
	if len(os.Args) == 0 || os.Args[0] != initName {
		return
	}
	// Network namespace and capabilities belong to a thread; exec keeps those of
	// the thread that calls it.
	runtime.LockOSThread()
	unix.CloseOnExec(failFD)
	err := becomeContainer() // returns only if it failed
	fmt.Fprint(os.NewFile(failFD, "fail"), err)
	unix.Exit(128)
}

func becomeContainer() error {
	var s Spec
	in := os.NewFile(specFD, "spec")
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("read specification: %w", err)
	}
	in.Close()
	if err := enterNetNS(s.NetNS); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("host name %s: %w", s.Hostname, err)
	}
	if err := buildRoot(s); err != nil {
		return err
	}
	if err := openStdin(); err != nil {
		return err
	}
	if err := dropRights(s); err != nil {
		return err
	}
	return execute(s)
}

func enterNetNS(file string) error {
	if file == "" {
		return nil
	}
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", file, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("network namespace %s: enter: %w", file, err)
	}
	return nil
}

func openStdin() error {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open /dev/null: %w", err)
	}
	defer unix.Close(fd)
	return unix.Dup3(fd, 0, 0)
}

func execute(s Spec) error {
	dir := s.Dir
	if dir == "" {
		dir = "/"
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("working directory %s: %w", dir, err)
	}
	file, err := findProgram(s.Args[0], s.Env)
	if err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", file, syscall.Exec(file, s.Args, s.Env))
}

// findProgram looks a bare name up in the container's PATH, not in ours.
func findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, e := range env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			file := path.Join(dir, name)
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
