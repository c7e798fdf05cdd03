package images

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// WriteArchive writes an image as a tar of an OCI image layout. The file is there
// as a whole or not at all.
func WriteArchive(path string, t Tree, daemon string, index v1.ImageIndex) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".layout-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	in := filepath.Join(dir, "layout")
	l, err := layout.Write(in, empty.Index)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	// containerd, docker and podman take the whole name from the first; skopeo
	// finds the image in the archive by the second.
	err = l.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          "docker.io/" + Repository + "/" + daemon + ":" + t.Version,
		"org.opencontainers.image.ref.name": t.Version,
	}))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	out := filepath.Join(dir, "archive")
	if err := pack(out, in, t.Date); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(out, path)
}

// pack writes a folder as a tar: the files in the order of their names, with
// nothing of the machine in their headers.
func pack(path, dir string, date time.Time) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return add(w, file, filepath.ToSlash(name), d, date)
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}

func add(w *tar.Writer, file, name string, d fs.DirEntry, date time.Time) error {
	h := &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: date, Format: tar.FormatUSTAR}
	if d.IsDir() {
		return w.WriteHeader(h)
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	h.Typeflag, h.Name, h.Mode, h.Size = tar.TypeReg, name, 0o644, info.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	_, err = io.Copy(w, in)
	return err
}
