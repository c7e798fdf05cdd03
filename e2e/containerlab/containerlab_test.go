// Package containerlab tests what can be tested of the topology without a
// container engine.
package containerlab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/e2e/lab"
)

func TestMain(m *testing.M) {
	skip, err := lab.Prepare(context.Background(), lab.Build)
	if err != nil || skip != "" {
		println(skip)
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestFRRAcceptsTheRouter(t *testing.T) {
	text, err := os.ReadFile("router/frr.conf")
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.CheckConfig(t.Context(), lab.DefaultRouter, t.TempDir(), string(text)); err != nil {
		t.Error(err)
	}
}

func TestHeraldAcceptsTheConfiguration(t *testing.T) {
	bin, err := lab.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "heraldctl"), "check", "configmap.yaml").CombinedOutput()
	if err != nil {
		t.Errorf("heraldctl check: %v\n%s", err, out)
	}
}

// Every end of a link is a node of the topology, and every file that it names is
// there.
func TestTheTopologyIsWhole(t *testing.T) {
	text, err := os.ReadFile("herald.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	var topology struct {
		Topology struct {
			Nodes map[string]struct {
				StartupConfig string `json:"startup-config"`
				Binds         []string
			}
			Links []struct{ Endpoints []string }
		}
	}
	if err := yaml.Unmarshal(text, &topology); err != nil {
		t.Fatal(err)
	}
	for name, n := range topology.Topology.Nodes {
		files := n.Binds
		if n.StartupConfig != "" {
			files = append(files, n.StartupConfig)
		}
		for _, f := range files {
			if _, err := os.Stat(before(f, ':')); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, l := range topology.Topology.Links {
		for _, e := range l.Endpoints {
			if _, ok := topology.Topology.Nodes[before(e, ':')]; !ok {
				t.Errorf("link %v: no node %s", l.Endpoints, before(e, ':'))
			}
		}
	}
}

func before(s string, sep rune) string {
	for i, r := range s {
		if r == sep {
			return s[:i]
		}
	}
	return s
}
