package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Built is a daemon that was compiled for a platform.
type Built struct {
	Platform v1.Platform
	Path     string
}

// user is whom the daemons run as; the manifests say the same. It is a number, or
// the kubelet could not tell that it is not root.
const user = "65532:65532"

// Index is the image of a daemon for all the platforms that it was built for.
func Index(t Tree, daemon string, builds []Built) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range builds {
		image, err := image(t, daemon, b)
		if err != nil {
			return nil, fmt.Errorf("image of %s for %s: %w", daemon, b.Platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &b.Platform},
		})
	}
	return mutate.Annotations(index, annotations(t, daemon)).(v1.ImageIndex), nil
}

// image is one layer with one file. There is nothing else to update, and nothing
// to run for who breaks in.
func image(t Tree, daemon string, b Built) (v1.Image, error) {
	layer, err := layer(b.Path, daemon, t.Date)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made := v1.Time{Time: t.Date}
	packed, err := mutate.Append(base, mutate.Addendum{
		Layer: layer, History: v1.History{Created: made, CreatedBy: "make images", Comment: daemon + " " + t.Version},
	})
	if err != nil {
		return nil, err
	}
	config, err := packed.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = made
	config.OS, config.Architecture = b.Platform.OS, b.Platform.Architecture
	config.Config = v1.Config{
		User:       user,
		Entrypoint: []string{"/" + daemon},
		Labels:     annotations(t, daemon),
	}
	if packed, err = mutate.ConfigFile(packed, config); err != nil {
		return nil, err
	}
	return mutate.Annotations(packed, annotations(t, daemon)).(v1.Image), nil
}

// layer is a compressed tar with one executable in its root.
func layer(path, name string, date time.Time) (v1.Layer, error) {
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	err = w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(binary)), ModTime: date, Format: tar.FormatUSTAR,
	})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
}

var descriptions = map[string]string{
	"herald-allocator": "hands out the addresses of Services of type LoadBalancer",
	"herald-speaker":   "announces the LoadBalancer addresses that its node can serve",
}

// annotations are the labels of an image, too; see the annotations of the OCI's
// image specification.
func annotations(t Tree, daemon string) map[string]string {
	a := map[string]string{
		"org.opencontainers.image.title":       daemon,
		"org.opencontainers.image.description": descriptions[daemon],
		"org.opencontainers.image.version":     t.Version,
		"org.opencontainers.image.created":     t.Date.Format(time.RFC3339),
		"org.opencontainers.image.source":      "https://github.com/heraldlb/herald",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if t.Revision != "" {
		a["org.opencontainers.image.revision"] = t.revision()
	}
	return a
}
