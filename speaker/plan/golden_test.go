package plan_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

var update = flag.Bool("update", false, "write what Compute returns into the golden files")

// Each file of testdata is one situation: the configuration, the cluster, and
// for each node ("want n1") the table that it must come to.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var in plan.Input
	var links map[string]links
	wants := 0
	for i, f := range a.Files {
		switch name, node, _ := strings.Cut(f.Name, " "); name {
		case "config":
			if in.Config, err = config.Parse(f.Data); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		case "cluster":
			in.Cluster, links = parseCluster(t, string(f.Data))
		case "alive":
			in.Alive = map[string]bool{}
			for _, n := range strings.Fields(string(f.Data)) {
				in.Alive[n] = true
			}
		case "nolayer2":
			in.NoLayer2 = true
		case "want":
			wants++
			in.Self = node
			in.Links = links[node]
			got := text(plan.Compute(in))
			if *update {
				a.Files[i].Data = []byte(got)
			} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", node, diff)
			}
		default:
			t.Fatalf("%s: section %q is none of config, cluster, alive, nolayer2, want NODE", file, f.Name)
		}
	}
	if wants == 0 {
		t.Fatalf("%s: wants nothing", file)
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// parseCluster reads lines of
//
//	node NAME ADDR... [notready] [excluded] [nonetwork] [cordoned] [links=X,...] [KEY=VALUE]
//	service NS/NAME ADDR... [local|cluster] [class=X] [deleting] [clusterip]
//	  ADDR NODE [ready|notready|terminating|draining]     (endpoint of the service above)
//
// A draining endpoint still serves while it terminates; a terminating one does not.
func parseCluster(t *testing.T, text string) (cluster.Snapshot, map[string]links) {
	var s cluster.Snapshot
	usable := map[string]links{}
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch {
		case len(w) == 0 || w[0] == "#":
		case w[0] == "node":
			n := parseNode(t, w[1:])
			if names, ok := n.Labels["links"]; ok {
				delete(n.Labels, "links")
				usable[n.Name] = linksNamed(names)
			}
			s.Nodes = append(s.Nodes, n)
		case w[0] == "service":
			s.Services = append(s.Services, parseService(t, w[1:]))
		default:
			svc := &s.Services[len(s.Services)-1]
			svc.Endpoints = append(svc.Endpoints, parseEndpoint(t, w))
		}
	}
	return s, usable
}

type links = func(netip.Addr, []string, []string) []string

// linksNamed has every link carry every address, unless it is excluded.
func linksNamed(names string) links {
	return func(_ netip.Addr, _, exclude []string) []string {
		return slices.DeleteFunc(strings.FieldsFunc(names, func(r rune) bool { return r == ',' }), func(n string) bool {
			return slices.Contains(exclude, n)
		})
	}
}

func parseNode(t *testing.T, w []string) cluster.Node {
	n := cluster.Node{Name: w[0], Ready: true, Labels: map[string]string{}}
	for _, x := range w[1:] {
		if key, value, ok := strings.Cut(x, "="); ok {
			n.Labels[key] = value
			continue
		}
		switch x {
		case "cordoned":
			n.Unschedulable = true
		case "notready":
			n.Ready = false
		case "excluded":
			n.Labels[cluster.LabelExclude] = ""
		case "nonetwork":
			n.NetworkUnavailable = true
		default:
			n.Addrs = append(n.Addrs, addr(t, x))
		}
	}
	return n
}

func parseService(t *testing.T, w []string) cluster.Service {
	ns, name, _ := strings.Cut(w[0], "/")
	s := cluster.Service{Namespace: ns, Name: name, LoadBalancer: true}
	for _, x := range w[1:] {
		switch k, v, _ := strings.Cut(x, "="); k {
		case "local":
			s.LocalOnly = true
		case "cluster":
		case "deleting":
			s.Deleting = true
		case "clusterip":
			s.LoadBalancer = false
		case "class":
			s.Class = v
		default:
			s.Ingress = append(s.Ingress, addr(t, x))
		}
	}
	return s
}

func parseEndpoint(t *testing.T, w []string) cluster.Endpoint {
	e := cluster.Endpoint{Addr: addr(t, w[0])}
	if w[1] != "-" {
		e.Node = w[1]
	}
	switch w[2] {
	case "ready":
		e.Ready, e.Serving = true, true
	case "draining":
		e.Serving, e.Terminating = true, true
	case "terminating":
		e.Terminating = true
	case "notready":
	default:
		t.Fatalf("endpoint state %q", w[2])
	}
	return e
}

func addr(t *testing.T, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func text(t plan.Table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "bgp as %d router-id %s next-hops %s %s\n", t.ASN, t.RouterID, t.NextHops.IPv4, t.NextHops.IPv6)
	for _, s := range t.Sessions {
		fmt.Fprintf(&b, "session %s %s as %d hold %s %s\n", s.Name, netip.AddrPortFrom(s.Address, s.Port), s.ASN, s.HoldTime, s.LinkBandwidth)
	}
	for _, r := range t.Routes {
		fmt.Fprintf(&b, "route %s %s weight %d\n", r.Peer, r.Prefix, r.Weight)
	}
	for _, c := range t.Claims {
		fmt.Fprintf(&b, "claim %s on %s\n", c.Addr, strings.Join(c.Links, ", "))
	}
	for _, d := range t.Decisions {
		fmt.Fprintf(&b, "%s %s %s", d.Service, d.Addr, d.Reason)
		if d.Announce || d.Claim {
			fmt.Fprintf(&b, " weight %d", d.Weight)
		}
		if d.Owner != "" {
			fmt.Fprintf(&b, " owner %s", d.Owner)
		}
		for _, n := range d.Nodes {
			fmt.Fprintf(&b, " %s=%d", n.Node, n.Weight)
		}
		if d.Detail != "" {
			fmt.Fprintf(&b, " (%s)", d.Detail)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
