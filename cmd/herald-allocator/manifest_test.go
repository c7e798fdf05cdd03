package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/kube/kubetest"
)

func manifest(t *testing.T, into any, path ...string) {
	t.Helper()
	root, err := kubetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(append([]string{root, "manifests"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatal(err)
	}
}

func TestArgumentsOfTheManifestAreUnderstood(t *testing.T) {
	var d appsv1.Deployment
	manifest(t, &d, "base", "allocator.yaml")
	c := d.Spec.Template.Spec.Containers[0]
	o, err := parseFlags(c.Args, io.Discard)
	if err != nil || o.configMap != "herald" || !strings.HasSuffix(o.Address, ":7472") {
		t.Errorf("%v: %+v", err, o)
	}
	if strings.Count(c.Image, "/") != 1 {
		t.Errorf("image %s names a registry", c.Image)
	}
}

func TestExampleConfigurationIsValid(t *testing.T) {
	var cm corev1.ConfigMap
	manifest(t, &cm, "examples", "configmap.yaml")
	if _, err := config.Parse([]byte(cm.Data[config.ConfigMapKey])); err != nil {
		t.Error(err)
	}
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, args := range [][]string{{"--no-such-flag"}, {"stray"}, {"--log-format=xml"}, {"--log-level=loud"}} {
		if _, err := parseFlags(args, io.Discard); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}
