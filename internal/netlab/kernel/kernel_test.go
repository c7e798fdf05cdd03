package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
)

func TestMain(m *testing.M) {
	Guest()
	os.Exit(m.Run())
}

// roleVar tells TestInside what to do on the other kernel.
const roleVar = "HERALD_TEST_ROLE"

// TestInside has a meaning only as the test that others run on the other kernel.
func TestInside(t *testing.T) {
	switch os.Getenv(roleVar) {
	case "pass":
		cpu, _ := os.ReadFile("/proc/cpuinfo")
		if !strings.Contains(string(cpu), "User Mode Linux") {
			t.Errorf("not User Mode Linux: %s", cpu)
		}
		if Rerun(t, VLAN, Bond) {
			t.Error("run elsewhere again")
		}
		if err := os.WriteFile("written-by-the-guest", nil, 0o600); err == nil {
			t.Error("the machine's files can be written")
		}
		a := netlab.New(t).Node("a")
		t.Logf("its links: %s", a.Run("ip", "-br", "link"))
	case "fail":
		t.Fatal("as it was told")
	case "skip":
		t.Skip("as it was told")
	case "die":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	}
}

// need has the kernel fetched, and returns the root of its package.
func need(t *testing.T) (root string) {
	t.Helper()
	netlab.Require(t)
	return netlab.Part(t, part)
}

func TestVerdicts(t *testing.T) {
	root := need(t)
	binary, err := testBinary(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		role  string
		test  string
		limit time.Duration
		fault string
		says  string
	}{
		{"pass", "TestInside", time.Minute, "", "its links: lo"},
		{"fail", "TestInside", time.Minute, "the test has failed: exit status 1", "as it was told"},
		{"skip", "TestInside", time.Minute, "the test was skipped", "as it was told"},
		{"none", "TestThatIsNotThere", time.Minute, "the test has not run", "no tests to run"},
		{"die", "TestInside", time.Minute, "the test has failed: exit status 3", "=== RUN"},
		{"hang", "TestInside", 8 * time.Second, program + ": took too long: context deadline exceeded", ""},
	} {
		t.Run(c.role, func(t *testing.T) {
			t.Parallel()
			o := order{
				Args:    []string{binary, "-test.run=" + pattern(c.test), "-test.v"},
				Env:     []string{roleVar + "=" + c.role},
				Modules: slices.Concat(VLAN.modules, Bond.modules),
				Root:    root,
			}
			r := run(t, o, c.limit)
			if got := r.fault(c.test); got != c.fault {
				t.Errorf("fault %q, want %q; the kernel says:\n%s", got, c.fault, r.console)
			}
			if !strings.Contains(r.output, c.says) {
				t.Errorf("it does not say %q: %s", c.says, r.output)
			}
		})
	}
	t.Cleanup(func() { leftNothing(t) })
}

// leftNothing looks for directories of ours, and for processes that name one.
func leftNothing(t *testing.T) {
	t.Helper()
	if dirs := directoriesOf(os.Getpid()); len(dirs) > 0 {
		t.Errorf("directories left: %v", dirs)
	}
	if lines := processesOf(os.Getpid()); len(lines) > 0 {
		t.Errorf("processes left: %q", lines)
	}
}

func nameOf(pid int) string { return fmt.Sprintf("herald-%d-kernel-", pid) }

func directoriesOf(pid int) []string {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), nameOf(pid)+"*"))
	return dirs
}

func processesOf(pid int) (lines []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if text, _ := os.ReadFile(f); strings.Contains(string(text), nameOf(pid)) {
			lines = append(lines, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return lines
}

// TestKilledTestsLeaveNothing kills a test binary while its kernel runs.
func TestKilledTestsLeaveNothing(t *testing.T) {
	need(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := netlab.StartProcess(t, exec.Command(self, "-test.run=^TestVerdicts$/^hang$"), filepath.Join(t.TempDir(), "log"))
	netlab.Eventually(t, 30*time.Second, func() string {
		if n := len(processesOf(p.PID())); n < 2 { // the shell and the kernel
			return fmt.Sprintf("the kernel has %d processes", n)
		}
		return ""
	})
	p.Kill()
	netlab.Eventually(t, 5*time.Second, func() string { return strings.Join(processesOf(p.PID()), "\n") })
	netlab.Reap()
	if dirs := directoriesOf(p.PID()); len(dirs) > 0 {
		t.Errorf("directories left: %v", dirs)
	}
}

func TestBootFailures(t *testing.T) {
	root := need(t)
	none := filepath.Join(t.TempDir(), "none")
	if r := run(t, order{Args: []string{none}, Root: root}, time.Minute); r.fault("TestX") != "the test has not come to its end" {
		t.Errorf("a binary that is not there: %q; the kernel says: %s", r.fault("TestX"), r.console)
	}
	binary, err := testBinary(t)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, order{Args: []string{binary}, Modules: []string{"unheard_of"}, Root: root}, time.Minute)
	if r.fault("TestX") == "" || !strings.Contains(r.console, "module unheard_of: not in ") {
		t.Errorf("a module that is not there: %q; the kernel says: %s", r.fault("TestX"), r.console)
	}
}

func TestPatternMatchesOneTest(t *testing.T) {
	for name, want := range map[string]string{"TestA": "^TestA$", "TestA/b.c/#01": `^TestA$/^b\.c$/^#01$`} {
		if got := pattern(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestDependenciesAreLoadedFirst(t *testing.T) {
	const dep = "net/a.ko:\nnet/b.ko: net/a.ko\nnet/c.ko: net/b.ko net/a.ko\n"
	for name, want := range map[string]string{"a": "net/a.ko", "c": "net/a.ko net/b.ko net/c.ko", "d": ""} {
		if got := strings.Join(filesOf(dep, name), " "); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
