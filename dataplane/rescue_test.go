package dataplane

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

var update = flag.Bool("update", false, "write the golden files anew")

func mac(t testing.TB, text string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func addrOf(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

func service(addr string, port uint16) RescueService {
	return RescueService{Addr: addrOf(addr), Port: port}
}

// onSegment is a peer on eth0.
func onSegment(t testing.TB, name, m, v4, v6 string) RescuePeer {
	return RescuePeer{Name: name, MAC: mac(t, m), IPv4: addrOf(v4), IPv6: addrOf(v6), Link: "eth0", Ask: true}
}

func rescueSpecs(t testing.TB) map[string]RescueSpec {
	n2 := onSegment(t, "n2", "02:00:00:00:00:02", "10.99.0.2", "fd99::2")
	n3 := onSegment(t, "n3", "02:00:00:00:00:03", "10.99.0.3", "")
	far := RescuePeer{
		Name: "n4", MAC: mac(t, "02:00:00:00:00:04"), IPv4: addrOf("10.98.0.4"), IPv6: addrOf("fe80::ff:fe00:4"),
		Link: "herald-vx", Tunnel: addrOf("10.98.0.4"), Ask: true,
	}
	mute := onSegment(t, "n5", "02:00:00:00:00:05", "10.99.0.5", "fd99::5")
	mute.Ask = false
	renamed := n2
	renamed.Name = "n2-old"
	return map[string]RescueSpec{
		"nothing":               {},
		"peers but no port":     {Peers: []RescuePeer{n2}},
		"a port but no peer":    {Services: []RescueService{service("10.200.0.1", 80)}},
		"two families":          {Services: []RescueService{service("fd00:200::1", 80), service("10.200.0.2", 443), service("10.200.0.1", 80), service("10.200.0.1", 443), service("10.200.0.3", 443), service("10.200.0.4", 443), service("10.200.0.5", 443), service("10.200.0.6", 443), service("fd00:200::2", 80), service("fd00:200::3", 80), service("fd00:200::4", 80)}, Peers: []RescuePeer{n3, n2}},
		"a peer with two names": {Services: []RescueService{service("10.200.0.1", 80)}, Peers: []RescuePeer{n2, renamed}},

		"who is not asked": {Services: []RescueService{service("10.200.0.1", 80)}, Peers: []RescuePeer{n2, mute}},
		"nobody to ask":    {Services: []RescueService{service("10.200.0.1", 80)}, Peers: []RescuePeer{mute}},

		"over the overlay": {
			Services: []RescueService{service("10.200.0.1", 80), service("fd00:200::1", 80)}, Peers: []RescuePeer{n2, far},
			Overlay: RescueOverlay{Link: "herald-vx", Port: 4793}, Mark: 0x20000000,
		},
	}
}

// TestRuleset compares the model's text with what is written down, and both with
// what nft reads out of the kernel.
func TestRuleset(t *testing.T) {
	lab := netlab.New(t)
	node := lab.Node("node")
	lab.Pair(node, "eth0", node, "far0")
	lab.Pair(node, "herald-vx", node, "far1")
	r := NewRescue(nil)
	for name, spec := range rescueSpecs(t) {
		t.Run(name, func(t *testing.T) {
			got := spec.Ruleset()
			golden(t, strings.ReplaceAll(name, " ", "-"), got)
			node.Inside(t, func() {
				// nft shows tables in the order in which they were filled.
				if err := errors.Join(r.Remove(t.Context()), r.Set(t.Context(), spec)); err != nil {
					t.Error(err)
				}
			})
			if diff := cmp.Diff(got, node.Run("nft", "list", "ruleset")); diff != "" {
				t.Errorf("nft shows something else (-model +nft):\n%s", diff)
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "rescue", name+".nft")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("another ruleset (-golden +model):\n%s", diff)
	}
}

// change sets the spec and tells whether that has changed anything.
func change(t *testing.T, node *netlab.Node, r *Rescue, spec RescueSpec) bool {
	t.Helper()
	var before, after uint32
	node.Inside(t, func() {
		var errs [3]error
		before, errs[0] = generation()
		errs[1] = r.Set(t.Context(), spec)
		after, errs[2] = generation()
		if err := errors.Join(errs[:]...); err != nil {
			t.Error(err)
		}
	})
	return before != after
}

const (
	bystander = "table ip herald2 {\n\tchain forward {\n\t\tdrop\n\t}\n}\n"
	flow4     = "10.0.0.9 . 1234 . 10.200.0.1 . 80"
)

func TestSetKeepsWhatPacketsHaveLeft(t *testing.T) {
	lab := netlab.New(t)
	node := lab.Node("node")
	lab.Pair(node, "eth0", node, "far0")
	lab.Pair(node, "eth1", node, "far1")
	node.Run("nft", bystander)
	spec := rescueSpecs(t)["two families"]
	r := NewRescue(nil)
	if !change(t, node, r, spec) {
		t.Fatal("nothing is there")
	}
	if change(t, node, r, spec) {
		t.Error("the same spec again changes something")
	}
	for _, f := range []string{"add element ip herald owner-eth0 { " + flow4 + " : 10.99.0.2 }", "add element ip herald asked { " + flow4 + " }"} {
		node.Run("nft", f)
	}
	if change(t, node, r, spec) {
		t.Error("what packets leave is taken for a change of somebody else")
	}
	kept := func(what string) {
		t.Helper()
		for _, s := range []string{"map ip herald owner-eth0", "set ip herald asked"} {
			if out := node.Run("nft", "list "+s); !strings.Contains(out, flow4) {
				t.Errorf("%s: the flow is gone from %s", what, s)
			}
		}
	}
	for _, step := range []struct {
		what string
		spec func(*RescueSpec)
	}{
		{"a peer more, on another link", func(s *RescueSpec) {
			p := onSegment(t, "n9", "02:00:00:00:00:09", "10.97.0.9", "fd97::9")
			p.Link = "eth1"
			s.Peers = append(s.Peers, p)
		}},
		{"a peer less", func(s *RescueSpec) { s.Peers = s.Peers[1:] }},
		{"a port more", func(s *RescueSpec) { s.Services = append(s.Services, service("10.200.0.1", 81)) }},
		{"a family less", func(s *RescueSpec) {
			s.Services = slices.DeleteFunc(s.Services, func(r RescueService) bool { return r.Addr.Is6() })
		}},
		{"a port less", func(s *RescueSpec) { s.Services = s.Services[:1] }},
	} {
		step.spec(&spec)
		change(t, node, r, spec)
		if diff := cmp.Diff(sortedLines(bystander+spec.Ruleset()), sortedLines(withoutFlow(node.Run("nft", "list ruleset")))); diff != "" {
			t.Errorf("%s: nft shows something else (-model +nft):\n%s", step.what, diff)
		}
		kept(step.what)
	}
	// Another process goes on from there.
	r = NewRescue(nil)
	change(t, node, r, spec)
	kept("restart")

	for _, what := range []string{
		"flush table ip herald", "delete table ip herald", "delete element ip herald peers { 02:00:00:00:00:02 }",
		"flush chain ip herald ask", "delete table ip herald; add table ip herald; add set ip herald asked { type ether_addr; }",
	} {
		node.Run("nft", what)
		if !change(t, node, r, spec) {
			t.Errorf("after %q nothing is made anew", what)
		}
		if diff := cmp.Diff(sortedLines(bystander+spec.Ruleset()), sortedLines(withoutFlow(node.Run("nft", "list ruleset")))); diff != "" {
			t.Errorf("after %q nft shows something else (-model +nft):\n%s", what, diff)
		}
	}
	node.Inside(t, func() {
		if err := errors.Join(r.Remove(t.Context()), r.Remove(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if got := node.Run("nft", "list ruleset"); got != bystander {
		t.Errorf("after Remove there is\n%s", got)
	}
}

// withoutFlow removes what the test has left in the sets.
func withoutFlow(text string) string {
	return regexp.MustCompile(`\t\telements = \{ `+regexp.QuoteMeta(flow4)+`[^}]*\}\n`).ReplaceAllString(text, "")
}

// sortedLines are for texts whose blocks come in another order.
func sortedLines(text string) []string {
	return slices.Sorted(strings.Lines(text))
}

func TestLargeSpec(t *testing.T) {
	lab := netlab.New(t)
	node := lab.Node("node")
	lab.Pair(node, "eth0", node, "far0")
	var spec RescueSpec
	for i := range 2500 {
		spec.Services = append(spec.Services, service(fmt.Sprintf("10.200.%d.%d", i/250, i%250), 80), service(fmt.Sprintf("fd00:200::%x", i), 80))
	}
	for i := range 250 {
		spec.Peers = append(spec.Peers, onSegment(t, fmt.Sprintf("node-%d.%s", i, strings.Repeat("x", 230)), fmt.Sprintf("02:00:00:00:01:%02x", i), fmt.Sprintf("10.99.0.%d", i+1), fmt.Sprintf("fd99::%x", i)))
	}
	r := NewRescue(nil)
	began := time.Now()
	change(t, node, r, spec)
	first := time.Since(began)
	began = time.Now()
	if change(t, node, r, spec) {
		t.Error("the same spec again changes something")
	}
	same := time.Since(began)
	node.Run("nft", bystander)
	began = time.Now()
	change(t, node, r, spec)
	t.Logf("250 peers, 5,000 services: %v, again %v, after somebody's change elsewhere %v", first, same, time.Since(began))
	if n := strings.Count(node.Run("nft", "list ruleset"), "goto peer-"); n != 500 {
		t.Errorf("nft shows %d peers", n)
	}
}

func TestMissingLink(t *testing.T) {
	lab := netlab.New(t)
	node := lab.Node("node")
	lab.Pair(node, "eth0", node, "far0")
	spec := rescueSpecs(t)["over the overlay"]
	node.Inside(t, func() {
		err := NewRescue(nil).Set(t.Context(), spec)
		if err == nil || !strings.Contains(err.Error(), `link "herald-vx" of peers: `) {
			t.Errorf("the error is %v", err)
		}
	})
	out := node.Run("nft", "list ruleset")
	if !strings.Contains(out, "goto peer-020000000002") || strings.Contains(out, "goto peer-020000000004") {
		t.Errorf("not the peers on the other link:\n%s", out)
	}
}

func TestProbe(t *testing.T) {
	lab := netlab.New(t)
	node, other := lab.Node("node"), lab.Node("other")
	lab.Pair(node, "eth0", other, "eth0")
	node.Addr("eth0", "10.0.0.1/24", "fd00::1/64")
	other.Addr("eth0", "10.0.0.2/24", "fd00::2/64")
	r := NewRescue(nil)
	probe := func(v6 bool) (err error) {
		node.Inside(t, func() { err = r.Probe(t.Context(), v6) })
		return err
	}
	for _, v6 := range []bool{false, true} {
		if err := probe(v6); !errors.Is(err, errNoConntrack) {
			t.Errorf("IPv6 %t, without conntrack: %v", v6, err)
		}
	}
	if got := node.Run("nft", "list ruleset"); got != "" {
		t.Errorf("the probe has left\n%s", got)
	}
	node.Run("nft", "table inet x {\nchain in {\ntype filter hook input priority 0; ct state established accept\n}\n}")
	for _, addr := range []string{"10.0.0.2", "fd00::2"} {
		_, _ = node.Try("bash", "-c", "exec 3<>/dev/tcp/"+addr+"/9")
		_, _ = node.Try("bash", "-c", "echo >/dev/udp/"+addr+"/9")
	}
	before := node.Run("nft", "list ruleset")
	for _, v6 := range []bool{false, true} {
		if err := probe(v6); err != nil {
			t.Errorf("IPv6 %t, with conntrack: %v", v6, err)
		}
	}
	if got := node.Run("nft", "list ruleset"); got != before {
		t.Errorf("the probe has left\n%s", got)
	}
	// Without the capability.
	var err error
	node.Inside(t, func() {
		// Threads of their own have capabilities of their own.
		none := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err = unix.Capset(&none, &data[0]); err == nil {
			err = r.Probe(t.Context(), false)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "capability NET_ADMIN") {
		t.Errorf("without the capability: %v", err)
	}
}
