package nodelet

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// payload is the content of a volume: files by their path in it.
type payload map[string]payloadFile

type payloadFile struct {
	data []byte
	mode os.FileMode
}

func (p payload) add(path string, data []byte, mode os.FileMode) {
	p[filepath.Clean(path)] = payloadFile{data, mode}
}

// addItems takes the listed keys, or all where none is listed.
func (p payload) addItems(data map[string][]byte, items []corev1.KeyToPath, mode os.FileMode, optional bool) error {
	if len(items) == 0 {
		for k, b := range data {
			p.add(k, b, mode)
		}
	}
	for _, item := range items {
		b, ok := data[item.Key]
		if !ok && !optional {
			return fmt.Errorf("no key %s", item.Key)
		}
		m := mode
		if item.Mode != nil {
			m = os.FileMode(*item.Mode)
		}
		if ok {
			p.add(item.Path, b, m)
		}
	}
	return nil
}

const (
	currentLink = "..data"     // points to the directory with the files
	nextLink    = "..data_tmp" // renamed over it
)

// write changes all files at once: readers that go by the link see the old or
// the new content, never both. The layout is the kubelet's, since programs that
// watch their files know it.
func (p payload) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if p.isIn(dir) {
		return nil
	}
	old, _ := os.Readlink(filepath.Join(dir, currentLink))
	fresh, err := os.MkdirTemp(dir, "..")
	if err != nil {
		return err
	}
	if err := p.writeFiles(fresh); err != nil {
		return err
	}
	next := filepath.Join(dir, nextLink)
	_ = os.Remove(next)
	if err := os.Symlink(filepath.Base(fresh), next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, currentLink)); err != nil {
		return err
	}
	if err := p.link(dir); err != nil {
		return err
	}
	if old == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, old))
}

func (p payload) isIn(dir string) bool {
	for path, f := range p {
		got, err := os.ReadFile(filepath.Join(dir, currentLink, path))
		if err != nil || !bytes.Equal(got, f.data) {
			return false
		}
	}
	return len(topNames(dir)) == len(p.tops()) && exists(filepath.Join(dir, currentLink))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (p payload) writeFiles(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for path, f := range p {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, f.data, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(file, f.mode); err != nil { // whatever the umask
			return err
		}
	}
	return nil
}

// link makes the names that users see, and takes those of gone files away.
func (p payload) link(dir string) error {
	want := p.tops()
	for _, name := range topNames(dir) {
		if !want[name] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	for name := range want {
		err := os.Symlink(filepath.Join(currentLink, name), filepath.Join(dir, name))
		if err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

func (p payload) tops() map[string]bool {
	out := map[string]bool{}
	for path := range p {
		top, _, _ := strings.Cut(path, "/")
		out[top] = true
	}
	return out
}

func topNames(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") {
			out = append(out, e.Name())
		}
	}
	return out
}
