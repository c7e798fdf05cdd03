package images

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push writes an image to a registry, as TO/DAEMON with the tree's version as
// its tag. The credentials are those of docker login or podman login. It returns
// the image's name by digest.
func Push(ctx context.Context, to string, t Tree, daemon string, index v1.ImageIndex) (string, error) {
	tag, err := name.NewTag(to+"/"+daemon+":"+t.Version, name.StrictValidation)
	if err != nil {
		return "", fmt.Errorf("push to %q: want REGISTRY/NAME, for example registry.example.com/team: %w", to, err)
	}
	err = remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return "", fmt.Errorf("push %s: %w", tag, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return "", err
	}
	return tag.Digest(digest.String()).String(), nil
}
