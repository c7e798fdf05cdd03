package images

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func version(t *testing.T) string {
	t.Helper()
	v, err := versionIn([]byte(read(t, filepath.Join(root, kustomization))))
	if err != nil {
		t.Fatalf("%s: %v", kustomization, err)
	}
	return v
}

type workload struct {
	Spec struct {
		Template struct {
			Spec struct {
				SecurityContext struct{ RunAsUser, RunAsGroup int64 }
				Containers      []struct{ Image string }
			}
		}
	}
}

// The kustomization gives the tag. A tag anywhere else in the manifests would be
// a second truth; an image that the kustomization does not know would have none.
func TestManifestsTakeTheirTagsFromTheKustomization(t *testing.T) {
	found := map[string]bool{}
	for _, path := range files(t, "manifests/base", ".yaml") {
		for _, doc := range strings.Split(read(t, path), "\n---\n") {
			var o workload
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			pod := o.Spec.Template.Spec
			for _, c := range pod.Containers {
				found[c.Image] = true
				// What the image says must be what the pods are run as.
				if as := fmt.Sprintf("%d:%d", pod.SecurityContext.RunAsUser, pod.SecurityContext.RunAsGroup); as != user {
					t.Errorf("%s: runs as %s, the image as %s", path, as, user)
				}
			}
		}
	}
	// Overlays only patch.
	for _, path := range append(files(t, "manifests/overlays", ".yaml"), files(t, "manifests/components", ".yaml")...) {
		if text := read(t, path); strings.Contains(text, "image:") || strings.Contains(text, "newTag:") {
			t.Errorf("%s: names an image; manifests/base does", path)
		}
	}
	for _, d := range Daemons {
		if image := Repository + "/" + d; !found[image] {
			t.Errorf("no manifest has the image %s without a tag", image)
		}
		delete(found, Repository+"/"+d)
	}
	if len(found) > 0 {
		t.Errorf("images that %s gives no tag: %v", kustomization, found)
	}
}

var ourImage = regexp.MustCompile(`herald-(?:allocator|speaker)(?::|-)(v\d[\w.]*\d)`)

// What a document tells people to type has the version of the tree. Decisions and
// changes are of their time.
func TestDocumentsNameTheVersion(t *testing.T) {
	want := version(t)
	found := 0
	for _, path := range append(files(t, ".", ".md"), files(t, "e2e", ".yaml")...) {
		if strings.Contains(path, "/adr/") || strings.HasSuffix(path, "CHANGELOG.md") {
			continue
		}
		for _, m := range ourImage.FindAllStringSubmatch(read(t, path), -1) {
			found++
			if m[1] != want {
				t.Errorf("%s: %s; the version of the tree is %s", path, m[0], want)
			}
		}
	}
	if found == 0 {
		t.Error("no document names an image with its version")
	}
}

func files(t *testing.T, dir, suffix string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, suffix) {
			out = append(out, path)
		}
		return nil
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("no %s under %s: %v", suffix, dir, err)
	}
	return out
}

// make reads the version by other means.
func TestMakeKnowsTheVersion(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "make", "--silent", "--no-print-directory", "version")
	cmd.Dir = root
	cmd.Env = os.Environ()
	out, err := cmd.Output()
	got, want := strings.TrimSpace(string(out)), version(t)
	if err != nil || got != want && !strings.HasPrefix(got, want+"+") {
		t.Errorf("make version: %q, %v; want %s and perhaps +COMMIT", got, err, want)
	}
}

func TestNoProgramOfAClusterLinksTheImageLibrary(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/...")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for dep := range strings.Lines(string(out)) {
		for _, banned := range []string{"google/go-containerregistry", "CycloneDX/", "herald/internal/images"} {
			if strings.Contains(dep, banned) {
				t.Errorf("links %s", strings.TrimSpace(dep))
			}
		}
	}
}
