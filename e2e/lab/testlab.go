package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"syscall"
)

// Labs of tests are named after the process, so that a later run can tell that
// the one which made them is dead.
var testName = regexp.MustCompile(`^hl-t([0-9a-z]+)x[0-9]*-`)

// TestName returns a name for a lab of this process's tests. Different numbers
// make different labs.
func TestName(number int) string {
	return fmt.Sprintf("t%sx%d", strconv.FormatInt(int64(os.Getpid()), 36), number)
}

// ReapTests removes the labs of test processes that are dead.
func ReapTests(ctx context.Context) error {
	var failed []error
	reaped := map[string]bool{}
	for _, ns := range namespaces("hl-t") {
		m := testName.FindStringSubmatch(ns)
		if m == nil {
			continue
		}
		pid, err := strconv.ParseInt(m[1], 36, 32)
		name := m[0][len("hl-") : len(m[0])-1]
		if err != nil || reaped[name] || syscall.Kill(int(pid), 0) == nil {
			continue
		}
		reaped[name] = true
		failed = append(failed, Down(ctx, name))
	}
	return errors.Join(failed...)
}

// Prepare makes a machine fit for tests that need a lab: the packages, the
// programs (build is Build or BuildLab), and nothing left of dead runs. It says
// why a test cannot run here; in continuous integration that is a failure.
func Prepare(ctx context.Context, build func(context.Context, io.Writer) error) (skip string, err error) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			return "", errors.New("the lab's tests need root")
		}
		return "the lab's tests need root", nil
	}
	if err := EnsurePackages(ctx, os.Stderr); err != nil {
		return "", err
	}
	if err := build(ctx, os.Stderr); err != nil {
		return "", err
	}
	return "", ReapTests(ctx)
}
