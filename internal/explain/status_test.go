package explain_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/internal/share"
)

const inForce = "apiVersion: heraldlb.io/v1\npools: [{name: public, ranges: [198.51.100.0/30]}]\npeers: [{name: tor, address: 10.0.0.1, asn: 64512}]\nbgp: {asn: 64513}\n"

var statusNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func hashOf(t *testing.T, text string) string {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c.Hash()
}

func loadBalancer(name string, c cluster.Condition, addrs ...string) cluster.Service {
	s := cluster.Service{Namespace: "default", Name: name, LoadBalancer: true, Families: []cluster.Family{cluster.IPv4}, Condition: c}
	for _, a := range addrs {
		s.Ingress = append(s.Ingress, netip.MustParseAddr(a))
	}
	return s
}

// well is a node on which nothing is wrong.
func well(t *testing.T, node string) explain.Answer {
	return explain.Answer{Node: node, State: explain.State{
		ConfigHash: hashOf(t, inForce),
		Peers: []explain.Peer{{
			Name: "tor", Address: netip.MustParseAddr("10.0.0.1"), State: "Established", BFD: "Up", Routes: 2, Since: statusNow.Add(-3 * time.Hour),
		}},
	}}
}

func status(t *testing.T, s explain.Saved, answers []explain.Answer, written string) *explain.Status {
	t.Helper()
	got, err := explain.NewStatus(s, answers, written, written == "", statusNow)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func problems(s *explain.Status) (lines []string) {
	for _, p := range s.Problems() {
		lines = append(lines, p.String())
	}
	return lines
}

func part(t *testing.T, name string) explain.Part {
	t.Helper()
	for _, p := range explain.Parts() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no part %s", name)
	return explain.Part{}
}

// What is printed as data is an interface: who changes this file breaks scripts.
func TestReport(t *testing.T) {
	saved := explain.Saved{Config: inForce, Cluster: cluster.Snapshot{
		Nodes: []cluster.Node{{Name: "n1"}, {Name: "n2"}},
		Services: []cluster.Service{
			loadBalancer("waits", cluster.Condition{Reason: "PoolExhausted", Message: "no IPv4 address is free"}),
			loadBalancer("web", cluster.Condition{Allocated: true, Reason: "Allocated"}, "198.51.100.1"),
		},
	}}
	ill := well(t, "n2")
	ill.State.Peers[0].State, ill.State.Peers[0].LastError, ill.State.Peers[0].Routes = "Active", "connection refused:\nnothing listens there", 0
	ill.State.Peers[0].Since = statusNow.Add(-time.Minute)
	r := status(t, saved, []explain.Answer{well(t, "n1"), ill}, inForce).Report()
	all, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const kept = "testdata/status.v1.json"
	got := strings.ReplaceAll(string(all), hashOf(t, inForce), "HASH") + "\n"
	if *update {
		if err := os.WriteFile(kept, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, p := range explain.Parts() {
		text, err := json.Marshal(p.Only(r))
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil || len(fields) != 5 || fields[p.Name] == nil || fields["kind"] != "Status" {
			t.Errorf("%s alone: %v %s", p.Name, err, text)
		}
	}
}

func TestStatusOfAClusterThatIsWell(t *testing.T) {
	saved := explain.Saved{Config: inForce, Cluster: cluster.Snapshot{
		Nodes: []cluster.Node{{Name: "n1"}, {Name: "n2"}},
		Services: []cluster.Service{
			loadBalancer("theirs", cluster.Condition{}),
			loadBalancer("web", cluster.Condition{Allocated: true, Reason: "Allocated"}, "198.51.100.1"),
		},
	}}
	saved.Cluster.Services[0].StatusOf = "other"
	s := status(t, saved, []explain.Answer{well(t, "n1"), well(t, "n2")}, inForce)
	var b strings.Builder
	s.Report().Write(&b)
	want := strings.ReplaceAll(`configuration: HASH in force

problems: 0

POOL    FAMILY  IN USE  FREE
public  IPv4    1       3

NODE  SPEAKER  CONFIGURATION  SESSIONS  ROUTES  PROBLEMS
n1    runs     HASH   1/1       2       0
n2    runs     HASH   1/1       2       0

NODE  PEER  ADDRESS   STATE        FOR  BFD  ROUTES  LAST ERROR
n1    tor   10.0.0.1  Established  3h   Up   2       -
n2    tor   10.0.0.1  Established  3h   Up   2       -

SERVICE         ADDRESSES     REASON
default/theirs  -             ServedByAnother
default/web     198.51.100.1  Allocated
`, "HASH", hashOf(t, inForce))
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Each trouble is named once, where it is, with what the speaker or the API says.
func TestStatusNamesTroubles(t *testing.T) {
	for _, tt := range []struct {
		desc    string
		change  func(*explain.Saved, *explain.State)
		written string // empty: inForce
		want    string
	}{
		{"no configuration", func(s *explain.Saved, st *explain.State) { s.Config, st.ConfigHash = "", "" }, "", "no configuration is in force, so nothing is handed out or announced"},
		{"a refused one", nil, "apiVersion: heraldlb.io/v1\npools: [{name: public}, {ranges: [x]}]\n", "the newest configuration is refused: "},
		{
			"one that this cluster refuses",
			func(s *explain.Saved, _ *explain.State) {
				s.Cluster.Nodes[0].Addrs = []netip.Addr{netip.MustParseAddr("203.0.113.7")}
			},
			strings.ReplaceAll(inForce, "198.51.100.0/30", "203.0.113.0/24"), "the newest configuration is refused: pools[0].ranges: pool public holds 203.0.113.7, an address of node n1; ",
		},
		{"another configuration", func(_ *explain.Saved, st *explain.State) { st.ConfigHash = "abc" }, "", "n1: it goes by the configuration abc, not "},
		{"a refused one on the node", func(_ *explain.Saved, st *explain.State) { st.ConfigError = "pools[0]: no" }, "", "n1: configuration: pools[0]: no"},
		{"not applied", func(_ *explain.Saved, st *explain.State) { st.Error = "one\ntwo" }, "", "n1: not applied: one; two"},
		{"a drain", func(_ *explain.Saved, st *explain.State) { st.Drains = "taint heraldlb.io/drain" }, "", "n1: it drains: taint heraldlb.io/drain"},
		{"the fuse", func(_ *explain.Saved, st *explain.State) { st.Fused = 30 }, "", "n1: the withdrawal of 30 addresses is held back, since nobody said why they would go"},
		{"a saved state", func(_ *explain.Saved, st *explain.State) { at := statusNow.Add(-90 * time.Second); st.Resumed = &at }, "", "n1: it announces what it saved 90s ago: the API server has not answered it"},
		{"a dead kube-proxy", func(_ *explain.Saved, st *explain.State) { st.Forwarding.Down = true }, "", "n1: kube-proxy does not answer any more"},
		{"rules that are missing", func(_ *explain.Saved, st *explain.State) {
			st.Forwarding.Pending = map[string]string{"default/b IPv4": "no rules", "default/a IPv4": "not heard of"}
		}, "", "n1: kube-proxy: default/a IPv4: not heard of, and 1 more"},
		{"rules of old", func(_ *explain.Saved, st *explain.State) {
			st.Forwarding.Outdated = map[string]string{"default/b IPv4": "endpoints are gone"}
		}, "", "n1: kube-proxy: default/b IPv4: endpoints are gone"},
		{"gossip", func(_ *explain.Saved, st *explain.State) { st.Members = &explain.Members{Problem: "no InternalIP"} }, "", "n1: gossip: no InternalIP"},
		{"a session", func(_ *explain.Saved, st *explain.State) {
			st.Peers[0].State, st.Peers[0].LastError, st.Peers[0].Since = "Active", "connection refused", statusNow.Add(-3*time.Minute)
		}, "", "n1: session with tor (10.0.0.1): Active for 3m: connection refused"},
		{"routes withheld", func(_ *explain.Saved, st *explain.State) { st.Peers[0].Withheld = "no next hop" }, "", "n1: session with tor (10.0.0.1): no next hop"},
		{"BFD", func(_ *explain.Saved, st *explain.State) { st.Peers[0].BFD = "Down" }, "", "n1: session with tor (10.0.0.1): BFD is Down: does the router have BFD for this neighbor?"},
		{"weights", func(_ *explain.Saved, st *explain.State) {
			st.Flows = &explain.Flows{Warnings: []share.Warning{{Text: "tor ignores weights"}}}
		}, "", "n1: weights: tor ignores weights"},
		{"a Service without an address", func(s *explain.Saved, _ *explain.State) {
			s.Cluster.Services = []cluster.Service{loadBalancer("web", cluster.Condition{Reason: "PoolExhausted", Message: "all are in use"})}
		}, "", "default/web: PoolExhausted: all are in use"},
		{"a Service of which nobody has said anything", func(s *explain.Saved, _ *explain.State) {
			s.Cluster.Services = []cluster.Service{loadBalancer("web", cluster.Condition{})}
		}, "", "default/web: the allocator has said nothing of it: is there a leader?"},
		{"nothing that announces", func(s *explain.Saved, st *explain.State) {
			s.Config = "apiVersion: heraldlb.io/v1\npools: [{name: public, ranges: [198.51.100.0/30]}]\n"
			st.ConfigHash = hashOf(t, s.Config)
		}, "", "nothing is announced: the configuration has neither peers nor a pool with l2 in announce"},
	} {
		saved := explain.Saved{Config: inForce, Cluster: cluster.Snapshot{Nodes: []cluster.Node{{Name: "n1"}}}}
		a := well(t, "n1")
		if tt.change != nil {
			tt.change(&saved, &a.State)
		}
		if tt.written == "" {
			tt.written = inForce
		}
		got := problems(status(t, saved, []explain.Answer{a}, tt.written))
		if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
			t.Errorf("%s:\n%s\nwant %s", tt.desc, strings.Join(got, "\n"), tt.want)
		}
	}
}

func TestStatusOfNodesThatDoNotAnswer(t *testing.T) {
	saved := explain.Saved{Config: inForce, Cluster: cluster.Snapshot{Nodes: []cluster.Node{{Name: "n1"}}}}
	s := status(t, saved, []explain.Answer{{Node: "n1", Unknown: "the speaker does not run: kubectl describe pod", Pod: "herald-speaker-x"}}, "")
	want := []string{"there is no ConfigMap herald with a key config.yaml: the last configuration that was accepted stays in force, if there is one", "n1: not known: the speaker does not run: kubectl describe pod herald-speaker-x"}
	if diff := cmp.Diff(want, problems(s)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if r := s.Report(); len(r.Nodes) != 1 || r.Nodes[0] != (explain.NodeReport{Name: "n1", Problems: 1}) || len(r.Sessions) != 0 {
		t.Errorf("nodes %+v, sessions %+v", r.Nodes, r.Sessions)
	}
	var b strings.Builder
	part(t, "nodes").Write(s.Report(), &b)
	if !strings.Contains(b.String(), "n1    not known  -              -         -       1\n") {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	part(t, "sessions").Write(s.Report(), &b)
	if fmt.Sprint(strings.Count(b.String(), "\n")) != "1" {
		t.Errorf("got\n%s", b.String())
	}
}
