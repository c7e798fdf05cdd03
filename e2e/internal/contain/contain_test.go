package contain

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run executes a shell line in a container and returns what it wrote and its code.
func run(t *testing.T, s Spec) (output string, code int) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := Start(s, out)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	code, _ = p.Wait()
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text), code
}

func shell(t *testing.T, line string) Spec {
	t.Helper()
	needRoot(t)
	return Spec{
		Root:         t.TempDir(),
		Userland:     true,
		Hostname:     "box",
		Args:         []string{"sh", "-c", line},
		Env:          []string{"PATH=/usr/bin:/bin:/usr/sbin"},
		Capabilities: []string{"CHOWN", "NET_RAW"},
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

func TestContainer(t *testing.T) {
	none := func(*Spec) {}
	rows := []struct {
		desc   string
		line   string
		change func(*Spec)
		want   string
		code   int
	}{
		{"has its own host name", "uname -n", none, "box\n", 0},
		{"is process 1", "echo $$", none, "1\n", 0},
		{"returns the exit code", "exit 7", none, "", 7},
		{"sees no file of the machine", "ls /root /work /home 2>/dev/null; ls -d /etc/shadow 2>/dev/null; true", none, "", 0},
		{"holds the capabilities of its set", "grep CapEff /proc/self/status", none, "CapEff:\t0000000000002001\n", 0},
		{
			"holds none as another user, whatever the set", "grep CapEff /proc/self/status; id -u; id -G",
			func(s *Spec) { s.UID, s.GID, s.Groups = 65532, 65532, []uint32{65532, 3000} }, "CapEff:\t0000000000000000\n65532\n65532 3000\n", 0,
		},
		{"cannot gain privileges", "grep NoNewPrivs /proc/self/status", func(s *Spec) { s.NoNewPrivs = true }, "NoNewPrivs:\t1\n", 0},
		{"can write to its own root", "echo x > /var/file && cat /var/file", none, "x\n", 0},
		{
			"cannot write to a read-only root", "echo x 2>/dev/null > /var/file || echo refused",
			func(s *Spec) { s.ReadOnlyRoot = true }, "refused\n", 0,
		},
		{"cannot change sysctls", "echo 1 2>/dev/null > /proc/sys/net/ipv4/ip_forward || echo refused", none, "refused\n", 0},
		{"writes to null devices", "echo x > /dev/null && head -c 2 /dev/zero | wc -c", none, "2\n", 0},
		{"starts in its directory", "pwd", func(s *Spec) { s.Dir = "/usr" }, "/usr\n", 0},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			s := shell(t, r.line)
			r.change(&s)
			got, code := run(t, s)
			if got != r.want || code != r.code {
				t.Errorf("got %q and code %d, want %q and %d", got, code, r.want, r.code)
			}
		})
	}
}

func TestMounts(t *testing.T) {
	s := shell(t, "cat /etc/config/a; echo b > /etc/config/b; echo no 2>/dev/null > /etc/config/sealed/c || echo refused; cat /etc/hosts")
	vol, sealed, hosts := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "hosts")
	write(t, filepath.Join(vol, "a"), "a\n")
	write(t, hosts, "::1 localhost\n")
	s.Mounts = []Mount{
		{Source: sealed, Target: "/etc/config/sealed", ReadOnly: true},
		{Source: vol, Target: "/etc/config"},
		{Source: hosts, Target: "/etc/hosts", ReadOnly: true},
	}
	got, code := run(t, s)
	if want := "a\nrefused\n::1 localhost\n"; got != want || code != 0 {
		t.Errorf("got %q and code %d, want %q", got, code, want)
	}
	if b, _ := os.ReadFile(filepath.Join(vol, "b")); string(b) != "b\n" {
		t.Errorf("the volume holds %q, want what the container wrote", b)
	}
}

func TestFailedStart(t *testing.T) {
	missing := shell(t, "")
	missing.Args = []string{"/nowhere"}
	bare := shell(t, "")
	bare.Args = []string{"nowhere"}
	dir := shell(t, "true")
	dir.Dir = "/nowhere"
	rows := []struct {
		desc string
		spec Spec
		want string
	}{
		{"no such program", missing, "exec /nowhere: no such file or directory"},
		{"not in PATH", bare, `exec: "nowhere": executable file not found in $PATH`},
		{"no such directory", dir, "working directory /nowhere: no such file or directory"},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			_, err := Start(r.spec, os.Stdout)
			var failed *StartError
			if !errors.As(err, &failed) || failed.Text != r.want {
				t.Errorf("got %v, want %s", err, r.want)
			}
		})
	}
}

func TestSignalEndsTheWholeContainer(t *testing.T) {
	s := shell(t, "sleep 100 & sleep 100")
	p, err := Start(s, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	code, signal := p.Wait()
	if code != 137 || signal != 9 || time.Since(begin) > 5*time.Second {
		t.Errorf("code %d, signal %d after %v", code, signal, time.Since(begin))
	}
}

// The container's mounts must not be seen, nor stay, outside.
func TestLeavesNoMount(t *testing.T) {
	s := shell(t, "true")
	run(t, s)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), s.Root) {
		t.Errorf("%s is still mounted", s.Root)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
