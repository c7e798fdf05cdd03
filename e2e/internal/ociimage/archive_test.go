package ociimage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An archive is right if every digest in it names a file of that content, from the
// index down to the program.
func TestArchive(t *testing.T) {
	dir := t.TempDir()
	program, file := filepath.Join(dir, "echo"), filepath.Join(dir, "echo.tar")
	must(t, os.WriteFile(program, []byte("a program"), 0o755))
	must(t, Write(file, "docker.io/library/echo:latest", program))
	b, err := os.ReadFile(file)
	must(t, err)
	files := untar(t, b)
	var index, manifest struct {
		Manifests, Layers []descriptor
		Config            descriptor
	}
	must(t, json.Unmarshal(files["index.json"], &index))
	if name := index.Manifests[0].Annotations["io.containerd.image.name"]; name != "docker.io/library/echo:latest" {
		t.Errorf("the image's name is %q", name)
	}
	must(t, json.Unmarshal(blob(t, files, index.Manifests[0]), &manifest))
	var config struct {
		Config struct{ Entrypoint []string }
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	must(t, json.Unmarshal(blob(t, files, manifest.Config), &config))
	layer := blob(t, files, manifest.Layers[0])
	if got := config.RootFS.DiffIDs; len(got) != 1 || got[0] != manifest.Layers[0].Digest {
		t.Errorf("the configuration has the layers %v, the manifest %s", got, manifest.Layers[0].Digest)
	}
	if got := string(untar(t, layer)["echo"]); got != "a program" || config.Config.Entrypoint[0] != "/echo" {
		t.Errorf("the layer's program is %q, the entrypoint %v", got, config.Config.Entrypoint)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func untar(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		files[h.Name], err = io.ReadAll(r)
		must(t, err)
	}
}

func blob(t *testing.T, files map[string][]byte, d descriptor) []byte {
	t.Helper()
	b := files["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
	if sum := fmt.Sprintf("sha256:%x", sha256.Sum256(b)); sum != d.Digest || len(b) != d.Size {
		t.Fatalf("%s of %d bytes: the file has %s, %d", d.Digest, d.Size, sum, len(b))
	}
	return b
}
