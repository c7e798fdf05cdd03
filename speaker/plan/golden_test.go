package plan_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	var hosts map[string]hostOnly
	leaving, silent, outdated, able, announced := map[string]bool{}, map[string]string{}, map[string]string{}, map[string]bool{}, map[string]bool{}
	wants := 0
	for i, f := range a.Files {
		switch name, node, _ := strings.Cut(f.Name, " "); name {
		case "config":
			if in.Config, err = config.Parse(f.Data); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		case "cluster":
			in.Cluster, hosts = parseCluster(t, string(f.Data))
		case "alive":
			in.Alive = map[string]bool{}
			for _, n := range strings.Fields(string(f.Data)) {
				in.Alive[n] = true
			}
		case "nolayer2":
			in.NoLayer2 = true
		case "leaving":
			for _, n := range strings.Fields(string(f.Data)) {
				leaving[n] = true
			}
		case "notforwarding": // NODE SERVICE why
			for line := range strings.Lines(string(f.Data)) {
				w := strings.SplitN(strings.TrimSpace(line), " ", 3)
				silent[w[0]+" "+w[1]] = w[2]
			}
		case "outdated": // NODE SERVICE why
			for line := range strings.Lines(string(f.Data)) {
				w := strings.SplitN(strings.TrimSpace(line), " ", 3)
				outdated[w[0]+" "+w[1]] = w[2]
			}
		case "announced": // NODE ADDR
			for line := range strings.Lines(string(f.Data)) {
				announced[strings.TrimSpace(line)] = true
			}
		case "able":
			for _, n := range strings.Fields(string(f.Data)) {
				able[n] = true
			}
		case "want":
			wants++
			in.Self = node
			in.Links, in.Gateways, in.Leaving = hosts[node].links, hosts[node].gateways, leaving[node]
			in.Forwarding = func(service string, _ netip.Addr) plan.Forwarded {
				if why, ok := silent[node+" "+service]; ok {
					return plan.Forwarded{Why: why}
				}
				why, is := outdated[node+" "+service]
				return plan.Forwarded{OK: true, Outdated: is, Why: why}
			}
			in.Announced = func(_ string, a netip.Addr) bool { return announced[node+" "+a.String()] }
			in.Able = func(other string) bool { return able[other] }
			got := text(plan.Compute(in))
			if *update {
				a.Files[i].Data = []byte(got)
			} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", node, diff)
			}
		default:
			t.Fatalf("%s: section %q is none of config, cluster, alive, nolayer2, leaving, notforwarding, outdated, announced, able, want NODE", file, f.Name)
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
//	node NAME ADDR... [notready] [excluded] [nonetwork] [cordoned] [deleting] [shutdown] [taint:KEY]
//	     [note:KEY=VALUE] [links:X,...] [gateway:ADDR] [KEY=VALUE]
//	service NS/NAME ADDR... [local|cluster] [class=X] [deleting] [clusterip] [label:KEY=VALUE] [port:N[/UDP]]
//	  ADDR NODE [ready|notready|terminating|draining]     (endpoint of the service above)
//
// A draining endpoint still serves while it terminates; a terminating one does not.
func parseCluster(t *testing.T, text string) (cluster.Snapshot, map[string]hostOnly) {
	var s cluster.Snapshot
	hosts := map[string]hostOnly{}
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch {
		case len(w) == 0 || w[0] == "#":
		case w[0] == "node":
			n, host := parseNode(t, w[1:])
			hosts[n.Name] = host
			s.Nodes = append(s.Nodes, n)
		case w[0] == "service":
			s.Services = append(s.Services, parseService(t, w[1:]))
		default:
			svc := &s.Services[len(s.Services)-1]
			svc.Endpoints = append(svc.Endpoints, parseEndpoint(t, w))
		}
	}
	return s, hosts
}

// hostOnly is what only a node itself knows.
type hostOnly struct {
	links    func(netip.Addr, []string, []string) []string
	gateways map[cluster.Family]netip.Addr
}

// linksNamed has every link carry every address, unless it is excluded.
func linksNamed(names string) func(netip.Addr, []string, []string) []string {
	return func(_ netip.Addr, _, exclude []string) []string {
		return slices.DeleteFunc(strings.FieldsFunc(names, func(r rune) bool { return r == ',' }), func(n string) bool {
			return slices.Contains(exclude, n)
		})
	}
}

func parseNode(t *testing.T, w []string) (cluster.Node, hostOnly) {
	n := cluster.Node{Name: w[0], Ready: true, Labels: map[string]string{}, Annotations: map[string]string{}}
	var host hostOnly
	for _, x := range w[1:] {
		kind, value, _ := strings.Cut(x, ":")
		switch kind {
		case "taint":
			n.Taints = append(n.Taints, value)
		case "note":
			k, v, _ := strings.Cut(value, "=")
			n.Annotations[k] = v
		case "links":
			host.links = linksNamed(value)
		case "gateway":
			a := addr(t, value)
			host.gateways = map[cluster.Family]netip.Addr{cluster.FamilyOf(a): a}
		case "pods":
			for p := range strings.SplitSeq(value, ",") {
				n.PodCIDRs = append(n.PodCIDRs, netip.MustParsePrefix(p))
			}
		case "cordoned":
			n.Unschedulable = true
		case "notready":
			n.Ready = false
		case "deleting":
			n.Deleting = true
		case "shutdown":
			n.ShuttingDown, n.Ready = true, false
		case "excluded":
			n.Labels[cluster.LabelExclude] = ""
		case "nonetwork":
			n.NetworkUnavailable = true
		default:
			if k, v, ok := strings.Cut(x, "="); ok {
				n.Labels[k] = v
			} else {
				n.Addrs = append(n.Addrs, addr(t, x))
			}
		}
	}
	return n, host
}

func parseService(t *testing.T, w []string) cluster.Service {
	ns, name, _ := strings.Cut(w[0], "/")
	s := cluster.Service{Namespace: ns, Name: name, LoadBalancer: true, Labels: map[string]string{}}
	for _, x := range w[1:] {
		if p, ok := strings.CutPrefix(x, "port:"); ok {
			s.Ports = append(s.Ports, parsePort(t, p))
			continue
		}
		if kv, ok := strings.CutPrefix(x, "label:"); ok {
			k, v, _ := strings.Cut(kv, "=")
			s.Labels[k] = v
			continue
		}
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

// parsePort reads 80 (TCP) or 53/UDP.
func parsePort(t *testing.T, text string) cluster.Port {
	number, protocol, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	if protocol == "" {
		protocol = "TCP"
	}
	return cluster.Port{Protocol: protocol, Port: uint16(n)}
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
		b.WriteString(sessionText(s) + "\n")
	}
	for _, r := range t.Refused {
		fmt.Fprintf(&b, "refused %s: %s\n", r.Name, r.Problem)
	}
	for _, r := range t.Routes {
		b.WriteString(routeText(r) + "\n")
	}
	for _, c := range t.Claims {
		fmt.Fprintf(&b, "claim %s on %s\n", c.Addr, strings.Join(c.Links, ", "))
	}
	for _, d := range t.Decisions {
		b.WriteString(decisionText(d) + "\n")
	}
	return b.String()
}

// sessionText leaves out what is as usual.
func sessionText(s plan.Session) string {
	text := fmt.Sprintf("session %s %s as %d hold %s", s.Name, where(s), s.ASN, s.HoldTime)
	add := func(is bool, format string, args ...any) {
		if is {
			text += " " + fmt.Sprintf(format, args...)
		}
	}
	add(s.Weights != config.EncodeLinkBandwidth|config.EncodeCommunity, "by %s", s.Weights)
	add(s.Weights.Has(config.EncodeLinkBandwidth) && s.LinkBandwidth != config.Both, "%s", s.LinkBandwidth)
	add(s.Weights.Has(config.EncodeCommunity) && s.Community.Base != 10000, "community %s", s.Community)
	add(s.LocalASN != 0, "local-as %d", s.LocalASN)
	add(s.Internal, "internal")
	add(s.Passive, "passive")
	add(s.Source.IsValid(), "source %s", s.Source)
	add(s.BFD != plan.BFD{}, "bfd %s/%s x %d", s.BFD.ReceiveInterval, s.BFD.TransmitInterval, s.BFD.DetectMultiplier)
	add(s.BFD.Strict, "strict")
	add(s.Paths > 0, "paths %d", s.Paths)
	return text
}

func where(s plan.Session) string {
	switch {
	case s.Range.IsValid():
		return "from " + s.Range.String()
	case !s.Address.IsValid():
		return "on " + s.Interface
	case s.Interface != "":
		return netip.AddrPortFrom(s.Address, s.Port).String() + " on " + s.Interface
	default:
		return netip.AddrPortFrom(s.Address, s.Port).String()
	}
}

func routeText(r plan.Route) string {
	text := fmt.Sprintf("route %s %s weight %d", r.Peer, r.Prefix, r.Weight)
	if r.Pods {
		text = fmt.Sprintf("route %s %s of pods", r.Peer, r.Prefix)
	}
	if r.Draining {
		text += " draining"
	}
	if len(r.NextHops) > 0 {
		text += fmt.Sprintf(" via %v", r.NextHops)
	}
	if r.Attributes != nil {
		text += " with"
		for _, c := range r.Attributes.Communities {
			text += fmt.Sprintf(" %d:%d", c>>16, c&0xffff)
		}
		if r.Attributes.Prepend > 0 {
			text += fmt.Sprintf(" prepend %d", r.Attributes.Prepend)
		}
	}
	return text
}

func decisionText(d plan.Decision) string {
	text := fmt.Sprintf("%s %s %s", d.Service, d.Addr, d.Reason)
	if d.Announce || d.Claim {
		text += fmt.Sprintf(" weight %d", d.Weight)
	}
	if d.Draining {
		text += " draining"
	}
	if d.Owner != "" {
		text += " owner " + d.Owner
	}
	for _, n := range d.Nodes {
		text += fmt.Sprintf(" %s=%d", n.Node, n.Weight)
	}
	if d.Detail != "" {
		text += " (" + d.Detail + ")"
	}
	return text
}
