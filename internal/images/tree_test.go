package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVersionInAKustomization(t *testing.T) {
	const allocator, speaker = "- {name: heraldlb/herald-allocator, newTag: %}\n", "- {name: heraldlb/herald-speaker, newTag: %}\n"
	for _, c := range []struct{ desc, text, want, err string }{
		{"both the same", tagged(allocator, "v1.2.3") + tagged(speaker, "v1.2.3"), "v1.2.3", ""},
		{"before a release", tagged(allocator, "v1.2.3-rc.1") + tagged(speaker, "v1.2.3-rc.1"), "v1.2.3-rc.1", ""},
		{"of others, too", tagged(allocator, "v1.2.3") + "- {name: busybox, newTag: latest}\n" + tagged(speaker, "v1.2.3"), "v1.2.3", ""},
		{"two versions", tagged(allocator, "v1.2.3") + tagged(speaker, "v1.2.4"), "", `images[1].newTag: "v1.2.4": another image has "v1.2.3"; give all the same`},
		{"one is missing", tagged(allocator, "v1.2.3"), "", "images: none has the name heraldlb/herald-speaker"},
		{"none", "", "", "images: none has the name heraldlb/herald-allocator"},
		{"no version", tagged(allocator, "latest") + tagged(speaker, "latest"), "", `images[0].newTag: "latest": not a version like v0.1.0`},
	} {
		got, err := versionIn([]byte("images:\n" + c.text))
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s: %q, %v; want %q, %s", c.desc, got, err, c.want, c.err)
		}
	}
}

func tagged(line, tag string) string { return strings.Replace(line, "%", tag, 1) }

// smallTree is a module with the daemons' names that compiles in a moment.
func smallTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := `package main

import "github.com/heraldlb/herald/internal/daemon"

func main() { println(daemon.Version()) }
`
	for name, text := range map[string]string{
		"go.mod":                       "module github.com/heraldlb/herald\n\ngo 1.26.0\n",
		"cmd/herald-allocator/main.go": program,
		"cmd/herald-speaker/main.go":   program,
		"internal/daemon/daemon.go":    "package daemon\n\nvar version string\n\nfunc Version() string { return version }\n",
		kustomization:                  "images:\n- {name: heraldlb/herald-allocator, newTag: v1.2.3}\n- {name: heraldlb/herald-speaker, newTag: v1.2.3}\n",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commit makes a folder a checkout with one commit, the same wherever it is.
func commit(t *testing.T, dir string) {
	t.Helper()
	git(t, dir, "init", "--quiet")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "--quiet", "--message", "all of it")
}

var commitDate = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...)
	at := commitDate.Format(time.RFC3339)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE="+at,
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE="+at)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestTreeOfACheckout(t *testing.T) {
	dir := smallTree(t)
	commit(t, dir)
	tree, err := ReadTree(t.Context(), dir, "")
	if err != nil || tree.Version != "v1.2.3" || len(tree.Revision) != 40 || tree.Dirty || !tree.Date.Equal(commitDate) {
		t.Errorf("%+v, %v", tree, err)
	}
	if got, want := tree.binaryVersion(), "v1.2.3+"+tree.Revision[:12]; got != want {
		t.Errorf("a binary says %s, want %s", got, want)
	}
	if got := tree.revision(); got != tree.Revision {
		t.Errorf("the label says %s, want %s", got, tree.Revision)
	}
	write(t, filepath.Join(dir, "cmd", "new.go"), "package cmd\n")
	if tree, err = ReadTree(t.Context(), dir, ""); err != nil || !tree.Dirty {
		t.Errorf("a file that is not committed: %+v, %v", tree, err)
	}
	if !strings.HasSuffix(tree.binaryVersion(), ".dirty") || !strings.HasSuffix(tree.revision(), "-dirty") {
		t.Errorf("a tree with changes is called %s, %s", tree.binaryVersion(), tree.revision())
	}
}

func TestTreeWithoutACheckout(t *testing.T) {
	for name, dir := range map[string]string{"alone": smallTree(t), "in another project's checkout": within(t)} {
		tree, err := ReadTree(t.Context(), dir, "")
		if err != nil || tree.Revision != "" || tree.binaryVersion() != "v1.2.3" || tree.Date.Unix() != 0 {
			t.Errorf("%s: %+v, %v", name, tree, err)
		}
	}
}

func within(t *testing.T) string {
	t.Helper()
	outer := t.TempDir()
	inner := filepath.Join(outer, "vendor", "herald")
	if err := os.CopyFS(inner, os.DirFS(smallTree(t))); err != nil {
		t.Fatal(err)
	}
	commit(t, outer)
	return inner
}

func TestTheTagOfTheCommitIsTheVersion(t *testing.T) {
	dir := smallTree(t)
	commit(t, dir)
	git(t, dir, "tag", "v1.2.4")
	_, err := ReadTree(t.Context(), dir, "")
	if want := "the commit has the tag v1.2.4, but " + kustomization + " says v1.2.3; make them the same"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	git(t, dir, "tag", "v1.2.3")
	if _, err = ReadTree(t.Context(), dir, ""); err != nil {
		t.Error(err)
	}
}

func TestSourceDateEpoch(t *testing.T) {
	dir := smallTree(t)
	commit(t, dir)
	if tree, err := ReadTree(t.Context(), dir, "1700000000"); err != nil || tree.Date.Unix() != 1700000000 {
		t.Errorf("%s, %v", tree.Date, err)
	}
	for _, bad := range []string{"yesterday", "-1"} {
		_, err := ReadTree(t.Context(), dir, bad)
		if want := `SOURCE_DATE_EPOCH "` + bad + `": not a number of seconds since 1970`; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
