package plan_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

var midnight = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// speakers are those of all nodes, through time.
type speakers struct {
	config    *config.Config
	cluster   cluster.Snapshot
	silent    map[string]bool
	drains    map[string]plan.DrainState
	memories  map[string]plan.RescueMemory
	tables    map[string]plan.Table
	wakes     map[string]time.Time
	everKnown []string // nodes that were in some cluster
}

func newSpeakers(c *config.Config) *speakers {
	return &speakers{
		config: c, drains: map[string]plan.DrainState{}, memories: map[string]plan.RescueMemory{},
		tables: map[string]plan.Table{}, wakes: map[string]time.Time{},
	}
}

// step has every node compute its table.
func (s *speakers) step(now time.Time) {
	for _, n := range s.cluster.Nodes {
		if !slices.Contains(s.everKnown, n.Name) {
			s.everKnown = append(s.everKnown, n.Name)
		}
	}
	for _, name := range s.everKnown {
		in := plan.Input{Self: name, Config: s.config, Cluster: s.cluster, NotRescuing: s.silent}
		t, drains, _ := s.drains[name].Drain(plan.Compute(in), s.config.Nodes.DrainTime, now)
		s.drains[name] = drains
		s.tables[name], s.memories[name], s.wakes[name] = s.memories[name].Remember(t, in, now)
	}
}

// Each file of testdata/rescue is a story: the configuration, then the cluster as
// it is from a moment on ("cluster 90m"), what a node must come to ("want n1"),
// the mere passing of time ("later 2h"), speakers that begin without a memory
// ("forget 3h", and names), and who says that it does not answer ("silent", and names).
func TestRescueGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/rescue/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { rescueGolden(t, file) })
	}
}

func rescueGolden(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s *speakers
	for i, f := range a.Files {
		word, arg, _ := strings.Cut(f.Name, " ")
		data := string(f.Data)
		switch word {
		case "config":
			c, err := config.Parse(f.Data)
			if err != nil {
				t.Fatal(err)
			}
			s = newSpeakers(c)
		case "silent":
			s.silent = map[string]bool{}
			for _, n := range strings.Fields(data) {
				s.silent[n] = true
			}
		case "cluster":
			s.cluster, _ = parseCluster(t, data)
			s.step(moment(t, arg))
		case "later":
			s.step(moment(t, arg))
		case "forget":
			for _, n := range strings.Fields(data) {
				delete(s.memories, n)
			}
			s.step(moment(t, arg))
		case "want":
			got := rescueText(s.tables[arg].Rescue, s.wakes[arg])
			if *update {
				a.Files[i].Data = []byte(got)
			} else if diff := cmp.Diff(data, got); diff != "" {
				t.Errorf("section %d, %s: (-want +got)\n%s", i+1, arg, diff)
			}
		default:
			t.Fatalf("%s: section %q is none of config, cluster TIME, later TIME, forget TIME, silent, want NODE", file, f.Name)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func moment(t *testing.T, text string) time.Time {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return midnight.Add(d)
}

func rescueText(r plan.Rescue, again time.Time) string {
	var b strings.Builder
	for _, s := range r.Services {
		fmt.Fprintf(&b, "service %s port %d\n", s.Addr, s.Port)
	}
	for _, p := range r.Peers {
		word := "known "
		switch {
		case p.Ask && p.Off:
			word = "asked although off "
		case p.Ask:
			word = "asked "
		case p.Off:
			word = "off "
		}
		b.WriteString(word + p.Name)
		for _, a := range []netip.Addr{p.IPv4, p.IPv6} {
			if a.IsValid() {
				b.WriteString(" " + a.String())
			}
		}
		b.WriteString("\n")
	}
	if b.Len() == 0 {
		b.WriteString("nothing\n")
	}
	if !again.IsZero() {
		fmt.Fprintf(&b, "again at %s\n", again.Sub(midnight))
	}
	return b.String()
}

// Over random histories of all nodes.
func TestRescueProperties(t *testing.T) {
	const keep = 2 * time.Hour
	c := testConfig(t)
	asked, kept := 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		s := newSpeakers(c)
		last := map[string]time.Time{} // when a node announced something last
		for now := midnight; now.Before(midnight.Add(12 * time.Hour)); now = now.Add(time.Duration(1+rng.IntN(5000)) * time.Second) {
			for node, table := range s.tables { // until now
				if announcesAny(table) {
					last[node] = now
				}
			}
			s.cluster = withPorts(randomCluster(rng, 1+rng.IntN(4), 6, rng.IntN(4)))
			s.cluster.Nodes = s.cluster.Nodes[:4+rng.IntN(3)]
			maps.DeleteFunc(last, func(node string, _ time.Time) bool { return !exists(s.cluster, node) })
			before := maps.Clone(s.memories)
			frozen := jsonOf(t, before)
			s.step(now)
			if jsonOf(t, before) != frozen {
				t.Fatalf("seed %d: Remember changed its argument", seed)
			}
			for node, table := range s.tables {
				checkRescue(t, seed, node, table.Rescue)
				checkBounded(t, s.memories[node], s.cluster, now)
			}
			asked += checkMutual(t, seed, s)
			kept += checkKept(t, seed, s, last, now, keep)
			checkOrder(t, rng, s, before, now)
		}
	}
	if asked == 0 || kept == 0 {
		t.Errorf("%d peers, %d of them drained: the test tests nothing", asked, kept)
	}
}

func announcesAny(t plan.Table) bool {
	return slices.ContainsFunc(t.Decisions, func(d plan.Decision) bool { return d.Announce && !d.Draining })
}

func exists(s cluster.Snapshot, node string) bool {
	return slices.ContainsFunc(s.Nodes, func(n cluster.Node) bool { return n.Name == node })
}

func withPorts(s cluster.Snapshot) cluster.Snapshot {
	for i := range s.Services {
		s.Services[i].Ports = []cluster.Port{{Protocol: "TCP", Port: uint16(80 + i)}, {Protocol: "UDP", Port: 53}}
	}
	return s
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkRescue: whom a node asks is not itself, and once each; both or nothing.
func checkRescue(t *testing.T, seed uint64, self string, r plan.Rescue) {
	t.Helper()
	names := map[string]bool{}
	for _, p := range r.Peers {
		if p.Name == self || names[p.Name] || !p.IPv4.IsValid() {
			t.Fatalf("seed %d: %s has the peer %+v", seed, self, p)
		}
		names[p.Name] = true
	}
	if (len(r.Peers) == 0) != (len(r.Services) == 0) {
		t.Fatalf("seed %d: %s: %d peers for %d services", seed, self, len(r.Peers), len(r.Services))
	}
	for _, s := range r.Services {
		if s.Port == 53 {
			t.Fatalf("seed %d: UDP: %+v", seed, s)
		}
	}
}

// checkBounded: a memory has no more than the nodes that exist, and nothing older
// than it may be.
func checkBounded(t *testing.T, m plan.RescueMemory, snap cluster.Snapshot, now time.Time) {
	t.Helper()
	for _, pool := range m {
		for _, node := range slices.Concat(pool.Now, slices.Collect(maps.Keys(pool.Left))) {
			if !exists(snap, node) {
				t.Fatalf("%s is remembered, but is gone", node)
			}
		}
		for node, left := range pool.Left {
			if now.Sub(left) >= 2*time.Hour || slices.Contains(pool.Now, node) {
				t.Fatalf("%s left at %s, remembered at %s: %+v", node, left, now, pool)
			}
		}
	}
}

// checkMutual: who asks is known as a peer to those who are asked, and they look
// for the same.
func checkMutual(t *testing.T, seed uint64, s *speakers) (n int) {
	t.Helper()
	for _, asks := range s.cluster.Nodes {
		if !announcesAny(s.tables[asks.Name]) {
			continue
		}
		for _, p := range s.tables[asks.Name].Rescue.Peers {
			if !p.Ask {
				continue
			}
			other := s.tables[p.Name].Rescue
			n++
			knows := slices.ContainsFunc(other.Peers, func(p plan.RescuePeer) bool { return p.Name == asks.Name })
			if !knows || !slices.Equal(other.Services, s.tables[asks.Name].Rescue.Services) {
				t.Fatalf("seed %d: %s asks %s, which has %+v", seed, asks.Name, p.Name, other)
			}
		}
	}
	return n
}

// checkKept: who announced within the last hours is asked by everyone who does,
// as long as its Node is there.
func checkKept(t *testing.T, seed uint64, s *speakers, last map[string]time.Time, now time.Time, keep time.Duration) (n int) {
	t.Helper()
	for _, asks := range s.cluster.Nodes {
		table := s.tables[asks.Name]
		if !announcesAny(table) || len(table.Rescue.Services) == 0 {
			continue
		}
		for _, node := range s.cluster.Nodes {
			at, ever := last[node.Name]
			if !ever || now.Sub(at) >= keep || node.Name == asks.Name {
				continue
			}
			n++
			if !slices.ContainsFunc(table.Rescue.Peers, func(p plan.RescuePeer) bool { return p.Name == node.Name && p.Ask }) {
				t.Fatalf("seed %d: %s announced %s ago, but %s does not ask it", seed, node.Name, now.Sub(at), asks.Name)
			}
		}
	}
	return n
}

// checkOrder: neither the order of the input matters, nor that a memory was saved.
func checkOrder(t *testing.T, rng *rand.Rand, s *speakers, before map[string]plan.RescueMemory, now time.Time) {
	t.Helper()
	const self = "n0"
	var saved plan.RescueMemory
	if err := json.Unmarshal([]byte(jsonOf(t, before[self])), &saved); err != nil {
		t.Fatal(err)
	}
	in := plan.Input{Self: self, Config: s.config, Cluster: shuffled(rng, s.cluster)}
	table, again := plan.Compute(in), plan.RescueMemory(nil)
	table.Decisions = s.tables[self].Decisions // what draining made of them
	table, again, _ = saved.Remember(table, in, now)
	if !reflect.DeepEqual(table.Rescue, s.tables[self].Rescue) || !reflect.DeepEqual(again, s.memories[self]) {
		t.Fatalf("%+v and %+v differ from\n%+v and %+v", table.Rescue, again, s.tables[self].Rescue, s.memories[self])
	}
}
