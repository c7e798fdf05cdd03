// Package images makes the container images of the daemons: one static binary
// each, for every platform, packed by a library, so that no container engine is
// needed. What goes in depends on the tree alone, and so does the digest that
// comes out.
package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Daemons are the programs that have an image.
var Daemons = []string{"herald-allocator", "herald-speaker"}

// Repository is the first part of the images' names in the manifests.
const Repository = "heraldlb"

// kustomization holds the version of the tree: the tag of each image.
const kustomization = "manifests/base/kustomization.yaml"

// Tree is a checkout, and what its images say of it.
type Tree struct {
	Dir      string
	Version  string    // v0.1.0; the tag in the manifests
	Revision string    // the commit; empty outside a checkout
	Dirty    bool      // there are changes that are not committed
	Date     time.Time // of the commit, or SOURCE_DATE_EPOCH; zero: 1970
}

// ReadTree reads the version out of the manifests, and commit and date from git.
// epoch is $SOURCE_DATE_EPOCH, and takes the place of the commit's date.
func ReadTree(ctx context.Context, dir, epoch string) (Tree, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Tree{}, err
	}
	t := Tree{Dir: dir, Date: time.Unix(0, 0).UTC()}
	text, err := os.ReadFile(filepath.Join(dir, kustomization))
	if err != nil {
		return Tree{}, err
	}
	if t.Version, err = versionIn(text); err != nil {
		return Tree{}, fmt.Errorf("%s: %w", kustomization, err)
	}
	if err := t.askGit(ctx); err != nil {
		return Tree{}, err
	}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || seconds < 0 {
			return Tree{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: not a number of seconds since 1970", epoch)
		}
		t.Date = time.Unix(seconds, 0).UTC()
	}
	return t, nil
}

// a version that is a tag of images and of git at once.
var versionPattern = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// versionIn is the one tag that a kustomization gives to the images of all daemons.
func versionIn(text []byte) (string, error) {
	var k struct {
		Images []struct{ Name, NewTag string }
	}
	if err := yaml.Unmarshal(text, &k); err != nil {
		return "", err
	}
	version := ""
	for _, d := range Daemons {
		i := slices.IndexFunc(k.Images, func(i struct{ Name, NewTag string }) bool { return i.Name == Repository+"/"+d })
		if i < 0 {
			return "", fmt.Errorf("images: none has the name %s/%s", Repository, d)
		}
		tag := k.Images[i].NewTag
		if !versionPattern.MatchString(tag) {
			return "", fmt.Errorf("images[%d].newTag: %q: not a version like v0.1.0", i, tag)
		}
		if version != "" && tag != version {
			return "", fmt.Errorf("images[%d].newTag: %q: another image has %q; give all the same", i, tag, version)
		}
		version = tag
	}
	return version, nil
}

// askGit fills in the commit. What is no checkout has none, and that is no error.
func (t *Tree) askGit(ctx context.Context) error {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", t.Dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	head, ok := commitOf(git)
	if !ok {
		return nil
	}
	revision, seconds, _ := strings.Cut(head, " ")
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("read the date of commit %s: %w", revision, err)
	}
	t.Revision, t.Date = revision, time.Unix(at, 0).UTC()
	changes, err := git("status", "--porcelain")
	if err != nil {
		return fmt.Errorf("ask git for changes: %w", err)
	}
	t.Dirty = changes != ""
	tags, err := git("tag", "--points-at", "HEAD", "--list", "v*")
	if err != nil {
		return fmt.Errorf("ask git for tags: %w", err)
	}
	if names := strings.Fields(tags); len(names) > 0 && !slices.Contains(names, t.Version) {
		return errors.New("the commit has the tag " + strings.Join(names, ", ") + ", but " + kustomization + " says " + t.Version + "; make them the same")
	}
	return nil
}

// commitOf is the hash of the commit and its date; false: there is none. The
// folder of another project's checkout has a commit, but not of ours.
func commitOf(git func(...string) (string, error)) (string, bool) {
	prefix, err := git("rev-parse", "--show-prefix")
	if err != nil || prefix != "" {
		return "", false
	}
	head, err := git("log", "-1", "--format=%H %ct")
	return head, err == nil
}

// binaryVersion is what a program says of itself: the version, then what tells
// two builds of it apart.
func (t Tree) binaryVersion() string {
	v := t.Version
	if t.Revision != "" {
		v += "+" + t.Revision[:12]
		if t.Dirty {
			v += ".dirty"
		}
	}
	return v
}

// revision is the commit as an image's label has it.
func (t Tree) revision() string {
	if t.Dirty {
		return t.Revision + "-dirty"
	}
	return t.Revision
}
