// Package containerlab tests what can be tested of the topology without a
// container engine.
package containerlab

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/e2e/lab"
)

var update = flag.Bool("update", false, "write router/frr.conf")

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
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

// head is what a router of its own needs beside the lab's configuration.
const head = `! The lab's own, from e2e/lab. To write it anew: go test ./containerlab -update
frr defaults traditional
`

// The router is the lab's, so that the tests of the lab are tests of it.
func TestTheRouterIsTheLabs(t *testing.T) {
	own, err := lab.RouterConfig(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := head + strings.TrimRight(own, "\n") + "\n"
	if *update {
		if err := os.WriteFile("router/frr.conf", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("router/frr.conf")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("router/frr.conf is\n%s\nbut the lab's router has\n%s", got, want)
	}
}

func TestFRRAcceptsTheRouter(t *testing.T) {
	text, err := os.ReadFile("router/frr.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, frr := range []string{"frr-8.4", lab.DefaultRouter} {
		if err := lab.CheckConfig(t.Context(), frr, t.TempDir(), string(text)); err != nil {
			t.Errorf("%s: %v", frr, err)
		}
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

// A topology has the keys of containerlab's schema that this one uses. Others are
// refused: a key with a slip in it would be ignored.
type topology struct {
	Name     string `json:"name"`
	Topology struct {
		Nodes map[string]node `json:"nodes"`
		Links []struct {
			Endpoints []string `json:"endpoints"`
		} `json:"links"`
	} `json:"topology"`
}

type node struct {
	Kind          string   `json:"kind"`
	Image         string   `json:"image"`
	StartupConfig string   `json:"startup-config"`
	Binds         []string `json:"binds"`
	Exec          []string `json:"exec"`
}

func readTopology(t *testing.T) topology {
	t.Helper()
	text, err := os.ReadFile("herald.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	var top topology
	if err := yaml.UnmarshalStrict(text, &top); err != nil {
		t.Fatal(err)
	}
	return top
}

// Every node is of a kind that is known, every end of a link is one of the nodes,
// and every file that is named is there.
func TestTheTopologyIsWhole(t *testing.T) {
	top := readTopology(t)
	for name, n := range top.Topology.Nodes {
		// Whether there must be an image, by kind.
		image, known := map[string]bool{"k8s-kind": true, "linux": true, "bridge": false, "ext-container": false}[n.Kind]
		if !known || image != (n.Image != "") {
			t.Errorf("%s: kind %q, image %q", name, n.Kind, n.Image)
		}
		files := n.Binds
		if n.StartupConfig != "" {
			files = append(files, n.StartupConfig)
		}
		for _, f := range files {
			path, _, _ := strings.Cut(f, ":")
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	used := map[string]bool{}
	for _, l := range top.Topology.Links {
		if len(l.Endpoints) != 2 {
			t.Errorf("link %v: want two ends", l.Endpoints)
		}
		for _, e := range l.Endpoints {
			if name, _, ok := strings.Cut(e, ":"); !ok || top.Topology.Nodes[name].Kind == "" {
				t.Errorf("link %v: no node %s", l.Endpoints, name)
			}
			if used[e] {
				t.Errorf("link %v: %s is the end of another, too", l.Endpoints, e)
			}
			used[e] = true
		}
	}
}

// inside is set in the process that wires the topology. It has a mount and a
// network namespace of its own, so whatever it makes ends with it.
const inside = "HERALD_CONTAINERLAB_INSIDE"

// The commands of each node work in their order, and then packets of the client
// reach the nodes by the router, and come back.
func TestTheCommandsWork(t *testing.T) {
	if os.Getenv(inside) == "" {
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--propagation", "private", os.Args[0], "-test.run=^TestTheCommandsWork$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestTheCommandsWork") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	run(t, "mkdir -p /run/netns")
	run(t, "mount -t tmpfs tmpfs /run/netns")
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, commands, _ := strings.Cut(string(readme), "```\n")
	bridge, _, _ := strings.Cut(commands, "\n")
	run(t, "sh", "-c", bridge) // the first command that users are told
	top := readTopology(t)
	for name, n := range top.Topology.Nodes {
		if n.Kind == "linux" || n.Kind == "ext-container" {
			run(t, "ip netns add "+name)
			run(t, "ip -n "+name+" link set lo up")
		}
	}
	for _, l := range top.Topology.Links {
		wire(t, top, l.Endpoints[0], l.Endpoints[1])
	}
	for name, n := range top.Topology.Nodes {
		for _, command := range n.Exec {
			run(t, "ip netns exec "+name+" "+command)
		}
	}
	for _, i := range []int{11, 12, 13} {
		// Nothing listens: a refusal is an answer.
		at := fmt.Sprintf("http://10.77.0.%d:9/", i)
		out, _ := exec.CommandContext(t.Context(), "ip", "netns", "exec", "client", "curl", "-sv", "--max-time", "5", at).CombinedOutput()
		if !strings.Contains(string(out), "refused") {
			t.Errorf("the client to %s: %s", at, out)
		}
	}
}

// wire makes a link. An end at a bridge becomes a port of it.
func wire(t *testing.T, top topology, ends ...string) {
	t.Helper()
	run(t, "ip link add end0 type veth peer name end1")
	for i, end := range ends {
		name, port, _ := strings.Cut(end, ":")
		if top.Topology.Nodes[name].Kind == "bridge" {
			run(t, fmt.Sprintf("ip link set end%d name %s master %s up", i, port, name))
			continue
		}
		run(t, fmt.Sprintf("ip link set end%d netns %s name %s up", i, name, port))
	}
}

// run is one command, of words without blanks or of several words.
func run(t *testing.T, command ...string) {
	t.Helper()
	argv := command
	if len(command) == 1 {
		argv = strings.Fields(command[0])
	}
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}
