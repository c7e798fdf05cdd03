// Package kernel runs a test on another kernel where the running one was built
// without what the test needs. The other one is User Mode Linux: Linux as a
// program, which Debian packages with all its modules. It boots in two seconds,
// has the machine's files, read only, and networks of its own.
package kernel

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
)

// part is the kernel as e2e/parts.sh names it. It is sid's: before 6.13 User Mode
// Linux fails on processors whose registers take more than 2,696 bytes, such as those
// with AMX.
const part = "uml"

// program is its name.
const program = "linux.uml"

// limit is for the boot and the test together.
const limit = 5 * time.Minute

// Rerun tells whether the test has been run elsewhere, so that it must return at
// once. If this kernel makes links of all the kinds, it does nothing. Otherwise
// it runs this test, and no other, on a kernel that does, and takes over its log
// and its verdict. The package's TestMain must call Guest first.
//
// Without the privilege that networks need the test is skipped, or fails where CI
// is "true". All else that keeps the other kernel from running is a failure.
func Rerun(t *testing.T, kinds ...Kind) bool {
	t.Helper()
	netlab.Require(t)
	missing := lacking(t, kinds)
	switch {
	case len(missing) == 0:
		return false
	case os.Getenv(insideVar) != "":
		t.Fatalf("kernel: this is the other kernel, and it makes no %s either", names(missing))
	case !guestCalled:
		t.Fatal("kernel: TestMain does not call kernel.Guest")
	}
	t.Logf("this kernel makes no %s; what follows is of User Mode Linux", names(missing))
	binary, err := testBinary(t)
	if err != nil {
		t.Fatalf("kernel: %v", err)
	}
	adopt(t, run(t, orderOf(t, binary, kinds), timeLeft(t)))
	return true
}

func orderOf(t *testing.T, binary string, kinds []Kind) order {
	// It has one processor, which is no reason not to wait in parallel.
	o := order{Root: netlab.Part(t, part), Args: []string{binary, "-test.run=" + pattern(t.Name()), "-test.v", "-test.count=1", "-test.parallel=4"}}
	for _, k := range kinds {
		o.Modules = append(o.Modules, k.modules...)
	}
	return o
}

// pattern matches one test and nothing else.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// timeLeft leaves time to report before the go command ends us.
func timeLeft(t *testing.T) time.Duration {
	if end, ok := t.Deadline(); ok {
		return min(limit, time.Until(end)-10*time.Second)
	}
	return limit
}

// adopt makes the verdict ours.
func adopt(t *testing.T, r result) {
	t.Helper()
	t.Logf("%s", strings.TrimSpace(r.output))
	if why := r.fault(t.Name()); why != "" {
		t.Fatalf("kernel: %s; the kernel says:\n%s", why, r.console)
	}
}

// result is what the other kernel has left.
type result struct {
	err     error  // that kept it from running
	exit    string // of the test binary; empty: it has not ended
	output  string
	console string
}

// fault is why the test has not passed. A test that was not there, or that
// skipped itself, leaves 0 as well.
func (r result) fault(name string) string {
	switch {
	case r.err != nil:
		return r.err.Error()
	case r.exit == "":
		return "the test has not come to its end"
	case r.exit != "0":
		return "the test has failed: exit status " + r.exit
	case strings.Contains(r.output, "--- SKIP: "):
		return "the test was skipped"
	case !strings.Contains(r.output, "--- PASS: "+name+" ("):
		return "the test has not run"
	}
	return ""
}
