package images

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var (
	both   = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	native = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
)

// makeAll makes the images of a tree into a new folder.
func makeAll(t *testing.T, dir string) ([]Made, Tree) {
	t.Helper()
	tree, err := ReadTree(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	made, err := Make(t.Context(), Options{Tree: tree, Platforms: both, Out: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(Daemons) {
		t.Fatalf("%d images, want %d", len(made), len(Daemons))
	}
	return made, tree
}

func TestArchiveHoldsTheImageOfEachPlatform(t *testing.T) {
	dir := smallTree(t)
	commit(t, dir)
	made, tree := makeAll(t, dir)
	for _, m := range made {
		index, descriptor := open(t, m.Archive)
		if err := validate.Index(index); err != nil {
			t.Errorf("%s: %v", m.Daemon, err)
		}
		if descriptor.Digest != m.Digest || descriptor.MediaType != types.OCIImageIndex {
			t.Errorf("%s: the archive has %s, %s; want the index %s", m.Daemon, descriptor.MediaType, descriptor.Digest, m.Digest)
		}
		want := map[string]string{
			"io.containerd.image.name":          "docker.io/heraldlb/" + m.Daemon + ":v1.2.3",
			"org.opencontainers.image.ref.name": "v1.2.3",
		}
		if d := cmp.Diff(want, descriptor.Annotations); d != "" {
			t.Errorf("%s: annotations for who imports it (-want +got):\n%s", m.Daemon, d)
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		checkAnnotations(t, m.Daemon, tree, manifest.Annotations)
		var platforms []string
		for _, d := range manifest.Manifests {
			platforms = append(platforms, d.Platform.String())
			checkImage(t, m.Daemon, tree, index, d)
		}
		if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(platforms, want) {
			t.Errorf("%s: platforms %v, want %v", m.Daemon, platforms, want)
		}
	}
}

// open unpacks an archive and returns the one index in it.
func open(t *testing.T, archive string) (v1.ImageIndex, v1.Descriptor) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	dir := t.TempDir()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s in %s says who made it", h.Name, archive)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, h.Name), string(text))
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := top.IndexManifest()
	if err != nil || len(m.Manifests) != 1 {
		t.Fatalf("%s: %v, %+v; want one index", archive, err, m)
	}
	index, err := top.ImageIndex(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return index, m.Manifests[0]
}

func checkImage(t *testing.T, daemon string, tree Tree, index v1.ImageIndex, d v1.Descriptor) {
	t.Helper()
	image, err := index.Image(d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.OS != d.Platform.OS || c.Architecture != d.Platform.Architecture || !c.Created.Equal(tree.Date) {
		t.Errorf("%s %s: the image is of %s/%s, %s", daemon, d.Platform, c.OS, c.Architecture, c.Created)
	}
	if want := []string{"/" + daemon}; !slices.Equal(c.Config.Entrypoint, want) || c.Config.User != "65532:65532" {
		t.Errorf("%s: runs %v as %s", daemon, c.Config.Entrypoint, c.Config.User)
	}
	checkAnnotations(t, daemon, tree, c.Config.Labels)
	m, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	checkAnnotations(t, daemon, tree, m.Annotations)
	binary := only(t, image)
	if d.Platform.Equals(native) {
		out, err := exec.CommandContext(t.Context(), binary).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tree.binaryVersion() {
			t.Errorf("%s in the image says %q, %v; want %s", daemon, got, err, tree.binaryVersion())
		}
	}
}

func checkAnnotations(t *testing.T, daemon string, tree Tree, got map[string]string) {
	t.Helper()
	want := map[string]string{
		"org.opencontainers.image.title":       daemon,
		"org.opencontainers.image.description": descriptions[daemon],
		"org.opencontainers.image.version":     "v1.2.3",
		"org.opencontainers.image.revision":    tree.Revision,
		"org.opencontainers.image.created":     "2026-03-04T05:06:07Z",
		"org.opencontainers.image.source":      "https://github.com/heraldlb/herald",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: labels or annotations (-want +got):\n%s", daemon, d)
	}
}

// only unpacks the one file of an image.
func only(t *testing.T, image v1.Image) (path string) {
	t.Helper()
	all := mutate.Extract(image)
	defer func() { _ = all.Close() }()
	r := tar.NewReader(all)
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("there is something beside %s in the image: %v", h.Name, err)
	}
	path = filepath.Join(t.TempDir(), filepath.Base(h.Name))
	write(t, path, string(text))
	if err := os.Chmod(path, h.FileInfo().Mode()); err != nil {
		t.Fatal(err)
	}
	return path
}

// From two folders, at two times, by the command that users run: the same files,
// byte for byte.
func TestTheSameTreeMakesTheSameImages(t *testing.T) {
	command := filepath.Join(t.TempDir(), "images")
	goBuild(t, "-o", command, "./internal/tools/images")
	dirs := []string{smallTree(t), filepath.Join(t.TempDir(), "a", "longer", "path")}
	if err := os.CopyFS(dirs[1], os.DirFS(dirs[0])); err != nil {
		t.Fatal(err)
	}
	var first []Made
	for _, dir := range dirs {
		commit(t, dir)
		made := runCommand(t, command, "-tree", dir, "-out", t.TempDir())
		if first == nil {
			first = made
		}
		compare(t, first, made)
	}
}

// What is packed is the same, too, when it is Herald that is compiled.
func TestHeraldIsReproducible(t *testing.T) {
	var outs []string
	for range 2 {
		dir := filepath.Join(t.TempDir(), "herald")
		copyTree(t, dir)
		tree, err := ReadTree(t.Context(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, t.TempDir())
		if err := Compile(t.Context(), tree, native, outs[len(outs)-1], Daemons...); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range Daemons {
		path := filepath.Join(outs[0], d)
		if read(t, path) != read(t, filepath.Join(outs[1], d)) {
			t.Errorf("%s compiled in two folders is not the same", d)
		}
		checkSBOM(t, d, path)
	}
}

func goBuild(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false") // as in the Makefile
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// runCommand makes the images of all daemons by the command, and reads what it says.
func runCommand(t *testing.T, command string, args ...string) (made []Made) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), command, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		archive, digest, _ := strings.Cut(line, "  ")
		hash, err := v1.NewHash(digest)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		made = append(made, Made{Daemon: Daemons[i], Archive: archive, Digest: hash})
	}
	return made
}

func compare(t *testing.T, a, b []Made) {
	t.Helper()
	for i := range a {
		if a[i].Digest != b[i].Digest {
			t.Errorf("%s has the digest %s, and then %s", a[i].Daemon, a[i].Digest, b[i].Digest)
		}
		files, err := filepath.Glob(filepath.Join(filepath.Dir(a[i].Archive), "*"))
		if err != nil || len(files) < 2*len(Daemons) {
			t.Fatalf("%v %v", files, err)
		}
		for _, f := range files {
			other := filepath.Join(filepath.Dir(b[i].Archive), filepath.Base(f))
			if read(t, f) != read(t, other) {
				t.Errorf("%s and %s differ", f, other)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const root = "../.."

// copyTree copies what the images are made of.
func copyTree(t *testing.T, to string) {
	t.Helper()
	for _, part := range []string{"cmd", "speaker", "allocator", "dataplane", "internal", "manifests"} {
		if err := os.CopyFS(filepath.Join(to, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		write(t, filepath.Join(to, f), read(t, filepath.Join(root, f)))
	}
}

func TestPushedImagesComeBackByDigest(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	to := strings.TrimPrefix(server.URL, "http://") + "/team"
	tree, index := anyIndex(t)
	want, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := Push(t.Context(), to, tree, "herald-speaker", index)
	if err != nil || pushed != to+"/herald-speaker@"+want.String() {
		t.Errorf("pushed %s, %v; want the digest %s", pushed, err, want)
	}
	for _, ref := range []string{pushed, to + "/herald-speaker:v1.2.3"} {
		r, err := name.ParseReference(ref, name.StrictValidation)
		if err != nil {
			t.Fatal(err)
		}
		back, err := remote.Index(r, remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(back); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		if got, err := back.Digest(); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", ref, got, err, want)
		}
	}
}

// anyIndex is an image whose programs are none.
func anyIndex(t *testing.T) (Tree, v1.ImageIndex) {
	t.Helper()
	tree := Tree{Version: "v1.2.3", Date: commitDate}
	var builds []Built
	for _, p := range both {
		path := filepath.Join(t.TempDir(), "program")
		write(t, path, "for "+p.String())
		builds = append(builds, Built{p, path})
	}
	index, err := Index(tree, "herald-speaker", builds)
	if err != nil {
		t.Fatal(err)
	}
	return tree, index
}

func TestPushToNowhere(t *testing.T) {
	tree, index := anyIndex(t)
	for to, want := range map[string]string{
		"UPPER/case":     `push to "UPPER/case": want REGISTRY/NAME, for example registry.example.com/team: `,
		"127.0.0.1:1/it": "push 127.0.0.1:1/it/herald-speaker:v1.2.3: ",
	} {
		if _, err := Push(t.Context(), to, tree, "herald-speaker", index); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("push to %s: %v, want %s", to, err, want)
		}
	}
}

func TestTagThatNoRegistryTakes(t *testing.T) {
	tree := Tree{Dir: t.TempDir(), Version: "v1+2"}
	_, err := Make(t.Context(), Options{Tree: tree, Platforms: both, Out: t.TempDir()})
	if want := `tag "v1+2": `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestWhatDoesNotCompileIsNoImage(t *testing.T) {
	dir := smallTree(t)
	write(t, filepath.Join(dir, "cmd", "herald-speaker", "main.go"), "package main\n\nfunc main() { nothing() }\n")
	tree, err := ReadTree(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	_, err = Make(t.Context(), Options{Tree: tree, Platforms: []v1.Platform{native}, Out: out})
	if err == nil || !strings.Contains(err.Error(), "undefined: nothing") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
