package main

import (
	"bytes"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/internal/images"
)

func TestArgumentsThatMakeNoSense(t *testing.T) {
	for args, want := range map[string]string{
		"stray":               `unexpected argument "stray"`,
		"-platforms linux":    `-platforms "linux": want a list like linux/amd64,linux/arm64`,
		"-platforms a/b,":     `-platforms "a/b,": want a list like linux/amd64,linux/arm64`,
		"-tree /nothing/here": "open /nothing/here/manifests/base/kustomization.yaml: no such file or directory",
	} {
		err := run(t.Context(), strings.Fields(args), &bytes.Buffer{})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

// Who has pushed can paste what it prints into a kustomization.
func TestReportOfAPushIsAKustomization(t *testing.T) {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}
	var out bytes.Buffer
	made := []images.Made{{Daemon: "herald-speaker", Archive: "x.tar", Digest: digest, Pushed: "reg/team/herald-speaker@" + digest.String()}}
	if err := report(&out, made, images.Options{Push: "reg/team"}); err != nil {
		t.Fatal(err)
	}
	head, lines, ok := strings.Cut(out.String(), "\n\nimages:\n")
	if !ok || !strings.HasPrefix(head, "x.tar  "+digest.String()+"\n") {
		t.Fatalf("%s", out.String())
	}
	var k struct {
		Images []struct{ Name, NewName, Digest string }
	}
	if err := yaml.UnmarshalStrict([]byte("images:\n"+lines), &k); err != nil {
		t.Fatal(err)
	}
	got := k.Images[0]
	if got.Name != "heraldlb/herald-speaker" || got.NewName != "reg/team/herald-speaker" || got.Digest != digest.String() {
		t.Errorf("%+v", got)
	}
}
