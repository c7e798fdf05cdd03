package kube_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/kube/kubetest"
	"github.com/heraldlb/herald/internal/migrate"
)

// With the roles for people one may read what heraldctl reads. Without them all that is
// missing is told in one line, and an API server that is away within the time given.
func TestRightsOfAViewer(t *testing.T) {
	s := kubetest.Shared(t)
	root, err := kubetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "apply", "-k", filepath.Join(root, "manifests", "base"))
	ns := s.Namespace(t)
	s.Kubectl(t, "-n", ns, "create", "serviceaccount", "oncall")
	options := kube.Options{Kubeconfig: s.ServiceAccount(ns, "oncall"), Namespace: "herald-system", UserAgent: "heraldctl"}
	c, err := kube.New(options)
	if err != nil {
		t.Fatal(err)
	}
	const want = "you have no right to list services, endpointslices.discovery.k8s.io, namespaces, nodes, the ConfigMap herald-accepted in herald-system;" +
		" the roles herald-viewer of Herald's manifests give it"
	if err := c.MayRead(t.Context(), "herald-accepted"); err == nil || err.Error() != want {
		t.Errorf("without a right: %v, want %s", err, want)
	}
	account := "--serviceaccount=" + ns + ":oncall"
	s.Kubectl(t, "create", "clusterrolebinding", ns, "--clusterrole=herald-viewer", account)
	s.Kubectl(t, "-n", "herald-system", "create", "rolebinding", ns, "--role=herald-viewer", account)
	kubetest.Eventually(t, 5*time.Second, "the rights count", func() bool { return c.MayRead(t.Context(), "herald-accepted") == nil })
	watch(t, c, kube.WatchOptions{Services: true, EndpointSlices: true, Nodes: true, Namespaces: true, ConfigMap: "herald-accepted"})
	if _, err := c.Pods(t.Context(), "app.kubernetes.io/name=herald"); err != nil {
		t.Error(err)
	}
	if _, _, err := c.ReadConfigMap(t.Context(), "herald"); err != nil {
		t.Error(err)
	}

	// Of several files the first that has something counts, and a context chooses.
	options.Kubeconfig = "/missing" + string(os.PathListSeparator) + options.Kubeconfig
	if c, err = kube.New(options); err != nil || c.MayRead(t.Context(), "herald-accepted") != nil {
		t.Errorf("of a list of files: %v", err)
	}
	options.Context = "another"
	if _, err := kube.New(options); err == nil || !strings.Contains(err.Error(), `context "another" does not exist`) {
		t.Errorf("of a context that is not there: %v", err)
	}

	away := filepath.Join(t.TempDir(), "away")
	s.Kubectl(t, "config", "set-cluster", "away", "--server=https://127.0.0.1:1", "--kubeconfig="+away)
	s.Kubectl(t, "config", "set-context", "away", "--cluster=away", "--namespace=team-a", "--kubeconfig="+away)
	if got := kube.NamespaceOf(away, "away"); got != "team-a" {
		t.Errorf("the context is for the namespace %s", got)
	}
	if c, err = kube.New(kube.Options{Kubeconfig: away, Context: "away", Namespace: "herald-system", UserAgent: "heraldctl"}); err != nil {
		t.Fatal(err)
	}
	if err := c.MayRead(t.Context(), "herald-accepted"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("of a server that is away: %v", err)
	}
}

// metalLB is a release whose CustomResourceDefinitions are tried. Those of 0.15 have
// a BGPPeer that Kubernetes 1.36 refuses: its AS numbers are int32, up to 4294967295.
const metalLB = "go.universe.tf/metallb@v0.16.2"

// TestMetalLBOnAServer stores the objects that the tests of internal/migrate read on
// a server with MetalLB's own CustomResourceDefinitions, which must find them valid.
// What is read back makes the same configuration.
func TestMetalLBOnAServer(t *testing.T) {
	s := kubetest.Shared(t)
	client := newClient(t, s, s.Namespace(t))
	if text, err := client.Objects(t.Context(), migrate.Group, "v1beta1", "ipaddresspools"); text != nil || err != nil {
		t.Errorf("of a cluster without MetalLB came %s, %v", text, err)
	}
	for _, file := range definitions(t) {
		s.Kubectl(t, "apply", "-f", file)
	}
	s.Kubectl(t, "create", "namespace", "metallb-system")
	const objects = "../migrate/testdata/whole.yaml"
	kubetest.Eventually(t, 20*time.Second, "the server knows MetalLB's kinds", func() bool {
		text, err := client.Objects(t.Context(), migrate.Group, "v1beta1", "communities")
		return text != nil && err == nil
	})
	s.Kubectl(t, "apply", "-f", objects)

	var all bytes.Buffer
	for _, r := range migrate.Resources {
		text, err := client.Objects(t.Context(), migrate.Group, r.Version, r.Name)
		if err != nil || text == nil {
			t.Fatalf("%s: %s, %v", r.Name, text, err)
		}
		fmt.Fprintf(&all, "---\n%s\n", text)
	}
	got, err := migrate.MetalLB(all.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(objects)
	if err != nil {
		t.Fatal(err)
	}
	want, err := migrate.MetalLB(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.YAML, want.YAML) {
		t.Errorf("of the server's objects comes\n%s\nof the file's\n%s", got.YAML, want.YAML)
	}
	if g, w := fmt.Sprint(got.Notes), fmt.Sprint(want.Notes); g != w {
		t.Errorf("notes of the server's objects\n%s\nof the file's\n%s", g, w)
	}
}

// definitions are the files of MetalLB's CustomResourceDefinitions.
func definitions(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", metalLB)
	cmd.Dir = t.TempDir() // beside any module
	out, err := cmd.Output()
	var module struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd, err, out)
	}
	files, err := filepath.Glob(filepath.Join(module.Dir, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) < 6 {
		t.Fatalf("MetalLB's definitions are %v: %v", files, err)
	}
	return files
}
