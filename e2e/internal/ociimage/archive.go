// Package ociimage writes container images for the lab's own pods: one layer with
// one static program, as an archive of an OCI image layout. It is what the product's
// writer (internal/images) makes, without its lists and its library, which this
// module would have to share with Kubernetes.
package ociimage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type object map[string]any

// Write writes the image of a program, for this machine's architecture, to a file.
// The name is a whole one, as in docker.io/library/echo:latest.
func Write(file, name, program string) error {
	b, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	base := filepath.Base(program)
	layer, err := pack(entry{base, b, 0o755})
	if err != nil {
		return err
	}
	blobs := []entry{}
	add := func(kind string, content []byte) descriptor {
		digest := fmt.Sprintf("%x", sha256.Sum256(content))
		blobs = append(blobs, entry{"blobs/sha256/" + digest, content, 0o644})
		return descriptor{MediaType: kind, Digest: "sha256:" + digest, Size: len(content)}
	}
	addJSON := func(kind string, v any) descriptor {
		content, _ := json.Marshal(v) // maps and strings
		return add(kind, content)
	}
	packed := add(layerType, layer)
	config := addJSON(configType, object{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Entrypoint": []string{"/" + base}},
		"rootfs": object{"type": "layers", "diff_ids": []string{packed.Digest}},
	})
	manifest := addJSON(manifestType, object{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []descriptor{packed},
	})
	manifest.Annotations = map[string]string{"io.containerd.image.name": name}
	index, _ := json.Marshal(object{"schemaVersion": 2, "mediaType": indexType, "manifests": []descriptor{manifest}})
	archive, err := pack(append(blobs,
		entry{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644}, entry{"index.json", index, 0o644})...)
	if err != nil {
		return err
	}
	// Whole or not at all: another test may read it.
	tmp := file + ".new"
	if err := os.WriteFile(tmp, archive, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

type entry struct {
	name    string
	content []byte
	mode    int64
}

// pack writes files as a tar without times, so that the same files make the same image.
func pack(files ...entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}
