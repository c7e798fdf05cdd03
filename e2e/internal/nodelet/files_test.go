package nodelet

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPayloadIsReplacedAtOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(files map[string]string) {
		t.Helper()
		p := payload{}
		for name, text := range files {
			p.add(name, []byte(text), 0o644)
		}
		if err := p.write(dir); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]string{"a": "1", "sub/b": "2"})
	first, _ := os.Readlink(filepath.Join(dir, currentLink))
	write(map[string]string{"a": "1", "sub/b": "2"})
	if again, _ := os.Readlink(filepath.Join(dir, currentLink)); again != first {
		t.Error("the same content was written again")
	}
	write(map[string]string{"a": "changed", "c": "3"})
	if text, _ := os.ReadFile(filepath.Join(dir, "a")); string(text) != "changed" {
		t.Errorf("a is %q", text)
	}
	if got := topNames(dir); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("files %v, want a and c", got)
	}
	if exists(filepath.Join(dir, first)) {
		t.Error("the old content is still there")
	}
}

func TestPayloadItems(t *testing.T) {
	data := map[string][]byte{"k": []byte("v"), "other": []byte("w")}
	p := payload{}
	err := p.addItems(data, []corev1.KeyToPath{{Key: "k", Path: "dir/file", Mode: ptr(int32(0o400))}}, 0o644, false)
	if err != nil || len(p) != 1 || string(p["dir/file"].data) != "v" || p["dir/file"].mode != 0o400 {
		t.Errorf("got %v, %v", p, err)
	}
	if err := p.addItems(data, []corev1.KeyToPath{{Key: "none", Path: "x"}}, 0o644, false); err == nil {
		t.Error("a missing key was accepted")
	}
}

func TestHostPathIsOnTheNodesOwnDisk(t *testing.T) {
	disk, machine := t.TempDir(), t.TempDir()
	rows := []struct {
		desc string
		path string
		kind corev1.HostPathType
		want string // "": refused
	}{
		{"made if asked for", "/var/lib/x", corev1.HostPathDirectoryOrCreate, disk + "/var/lib/x"},
		{"there since the row above", "/var/lib/x", corev1.HostPathDirectory, disk + "/var/lib/x"},
		{"a file", "/run/lock", corev1.HostPathFileOrCreate, disk + "/run/lock"},
		{"the machine's where the disk lacks it", machine, corev1.HostPathDirectory, machine},
		{"the machine's is not written by create", machine, corev1.HostPathDirectoryOrCreate, disk + machine},
		{"nowhere", "/nowhere", corev1.HostPathDirectory, ""},
		{"nowhere, of no kind", "/nowhere", corev1.HostPathUnset, disk + "/nowhere"},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			got, err := hostPath(disk, &corev1.HostPathVolumeSource{Path: r.path, Type: &r.kind})
			if (err != nil) != (r.want == "") || got != r.want {
				t.Errorf("got %q, %v, want %q", got, err, r.want)
			}
		})
	}
}

func TestSeekTail(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	for n, want := range map[int]string{0: "", 1: "three\n", 2: "two\nthree\n", 3: text, 9: text} {
		r := strings.NewReader(text)
		if err := seekTail(r, n); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(r); string(got) != want {
			t.Errorf("last %d lines: %q, want %q", n, got, want)
		}
	}
}

func TestProbeCounter(t *testing.T) {
	for _, r := range []struct {
		desc, results, reached string
		good, bad              int
	}{
		{"first success is enough", "+", "+", 1, 3},
		{"three failures in a row", "---", "..-", 1, 3},
		{"failures that are not in a row", "--+--+", "..+..+", 1, 3},
		{"only once per row of results", "----+++", "..-.+..", 1, 3},
		{"two successes", "++", ".+", 2, 1},
	} {
		c := counter{good: r.good, bad: r.bad}
		var got strings.Builder
		for _, result := range r.results {
			if c.reached(result == '+') {
				got.WriteRune(result)
			} else {
				got.WriteByte('.')
			}
		}
		if got.String() != r.reached {
			t.Errorf("%s: got %s, want %s", r.desc, got.String(), r.reached)
		}
	}
}

func TestReapLeavesOtherProcessesAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "main.pid")
	for _, text := range []string{"", "x", "1 0", "2147483646 5", "999999999999999999999 1"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := reapProcess(file); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	// This very process under another start time must survive.
	if err := os.WriteFile(file, []byte(strings.Join([]string{pidOf(t), "1"}, " ")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := reapProcess(file); err != nil {
		t.Error(err)
	}
}

func pidOf(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	return link
}
