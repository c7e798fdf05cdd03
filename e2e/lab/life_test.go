package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostState is what the host's own namespace has, where a lab has no business.
func hostState(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, argv := range [][]string{
		{"ip", "-br", "link"},
		{"ip", "-br", "addr"},
		{"ip", "route"},
		{"ip", "-6", "route"},
		{"ip", "rule"},
		{"nft", "list", "tables"},
	} {
		out, _ := exec.Command(argv[0], argv[1:]...).Output()
		fmt.Fprintf(&b, "%v:\n%s", argv, out)
	}
	return b.String()
}

// left returns what still is there of a lab of this name.
func left(t *testing.T, name string) string {
	t.Helper()
	var found []string
	found = append(found, namespaces(nsPrefix(name))...)
	for _, pid := range pidsIn(nil, marker+name) {
		found = append(found, fmt.Sprint("process ", pid))
	}
	dir := filepath.Join(baseDir(), name)
	if _, err := os.Stat(dir); err == nil {
		found = append(found, dir)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for _, line := range strings.Split(string(mounts), "\n") {
		if strings.Contains(line, dir+"/") || strings.Contains(line, "/"+nsPrefix(name)) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "\n")
}

func TestDownAfterTheDriverWasKilled(t *testing.T) {
	needMachine(t)
	bin, err := BinDir()
	must(t, err)
	for i, after := range []time.Duration{0, 100 * time.Millisecond, time.Second, 4 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			before := hostState(t)
			name := TestName(10 + i)
			up := exec.Command(filepath.Join(bin, "lab"), "-name", name, "up")
			must(t, up.Start())
			for end := time.Now().Add(10 * time.Second); left(t, name) == ""; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it has not begun within 10 s")
				}
			}
			time.Sleep(after)
			must(t, up.Process.Kill())
			_ = up.Wait()
			must(t, Down(t.Context(), name))
			if l := left(t, name); l != "" {
				t.Errorf("left behind:\n%s", l)
			}
			if now := hostState(t); now != before {
				t.Errorf("the host was\n%s\nand is\n%s", before, now)
			}
		})
	}
}

func TestDownOfNothing(t *testing.T) {
	must(t, Down(t.Context(), "t0x0"))
}

func TestTwoLabsSideBySide(t *testing.T) {
	first := running(t)
	before := hostState(t)
	second, err := bring(t.Context(), 1, Options{FarNodes: []string{"n3"}})
	must(t, err)
	t.Cleanup(func() { _ = second.Down(context.Background()) })

	_, err = Up(t.Context(), Options{Name: second.Name()})
	if !errors.Is(err, ErrExists) {
		t.Errorf("up of a name in use: got %v, want %v", err, ErrExists)
	}
	must(t, createConfigMap(t.Context(), second, "mark"))
	if _, err := first.API(t.Context(), http.MethodGet, configMaps+"/mark", nil); err == nil {
		t.Error("what one lab was told, the other knows")
	}
	t.Run("a far node", func(t *testing.T) { testFarNode(t, second) })
	must(t, second.Down(t.Context()))
	if l := left(t, second.Name()); l != "" {
		t.Errorf("left behind:\n%s", l)
	}
	if now := hostState(t); now != before {
		t.Errorf("the host was\n%s\nand is\n%s", before, now)
	}
	if problems := first.Status(t.Context()).Problems(); len(problems) > 0 {
		t.Errorf("the first lab, after the second is down: %v", problems)
	}
	if _, err := Open(second.Name()); err == nil {
		t.Error("a lab that is down can be opened")
	}
}

const configMaps = "/api/v1/namespaces/default/configmaps"

func createConfigMap(ctx context.Context, l *Lab, name string) error {
	_, err := l.API(ctx, http.MethodPost, configMaps, []byte(`{"metadata":{"name":"`+name+`"}}`))
	return err
}

func TestAPIServerRestart(t *testing.T) {
	l := running(t)
	must(t, createConfigMap(t.Context(), l, "kept"))
	must(t, l.KillAPIServer())
	if _, err := l.API(t.Context(), http.MethodGet, "/readyz", nil); err == nil {
		t.Error("a killed API server answers")
	}
	if problems := strings.Join(l.Status(t.Context()).Problems(), "\n"); !strings.Contains(problems, "kube-apiserver does not run") {
		t.Errorf("status does not tell it: %s", problems)
	}
	must(t, l.StartAPIServer())
	must(t, l.WaitAPI(t.Context()))
	_, err := l.API(t.Context(), http.MethodDelete, configMaps+"/kept", nil)
	must(t, err)
	must(t, l.waitNodes(t.Context(), l.Nodes()))
}

// Whoever opens a lab by its name can do all that the one who made it can.
func TestOpen(t *testing.T) {
	made := running(t)
	l, err := Open(made.Name())
	must(t, err)
	out, err := l.Kubectl(t.Context(), "get", "nodes", "-o", "name")
	must(t, err)
	if out != "node/n1\nnode/n2\nnode/n3\n" {
		t.Errorf("nodes: %q", out)
	}
	out, err = l.Exec(t.Context(), "n2", "ip", "-br", "-4", "addr", "show", "eth0")
	must(t, err)
	if !strings.Contains(out, " 10.77.0.12/24") {
		t.Errorf("address of n2: %q", out)
	}
	if _, err := l.Exec(t.Context(), "n4", "true"); err == nil || !strings.Contains(err.Error(), `no place "n4"`) {
		t.Errorf("a place that is not there: %v", err)
	}
	if !l.state().Procs["relay"].alive() || syscall.Kill(l.state().Procs["relay"].PID, 0) != nil {
		t.Error("the relay does not run")
	}
}
