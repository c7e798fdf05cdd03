package plan_test

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// history is a node's tables one after the other, as the loop makes them.
type history struct {
	config *config.Config
	memory plan.Memory
}

func (h *history) step(snap cluster.Snapshot, now time.Time) (t plan.Table) {
	t, h.memory = plan.Turn(h.memory, plan.Facts{Now: now, Input: plan.Input{Self: "n0", Config: h.config, Cluster: snap}})
	return t
}

// Over random histories: what drains was announced before, and not for longer
// than it may; what has no endpoint is held back for no longer than it may; every
// route has a weight.
func TestHistories(t *testing.T) {
	c := testConfig(t)
	drained, heldBack := 0, 0
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 4))
		h := history{config: c}
		now := time.Unix(1_000_000, 0)
		drains, held := map[netip.Prefix]time.Time{}, map[netip.Addr]time.Time{}
		for range 30 {
			snap := randomCluster(rng, 40, 3, 2+rng.IntN(3))
			if rng.IntN(6) == 0 {
				n, missing := rng.IntN(20), map[string]bool{}
				for _, s := range snap.Services[n:] {
					missing[s.Key()] = true
				}
				snap.Services, snap.Missing.Services = snap.Services[:n], missing
			}
			before, memory := h.memory.Last, h.memory
			table := h.step(snap, now)
			again := history{config: c, memory: memory}
			if !reflect.DeepEqual(again.step(snap, now), table) || !reflect.DeepEqual(again.memory, h.memory) {
				t.Fatalf("seed %d: the same memory and facts make another table the second time", seed)
			}
			drains = sinceWhen(drains, now, drainingIn(table))
			for p, since := range drains {
				if !announcesPrefix(before, p) || now.Sub(since) >= c.Nodes.DrainTime {
					t.Fatalf("seed %d: %s drains since %s, announced before: %v", seed, p, now.Sub(since), announcesPrefix(before, p))
				}
			}
			held = sinceWhen(held, now, heldIn(table))
			for a, since := range held {
				if now.Sub(since) >= c.Nodes.Fuse.HoldTime {
					t.Fatalf("seed %d: %s is held back since %s", seed, a, now.Sub(since))
				}
			}
			drained, heldBack = drained+len(drains), heldBack+len(held)
			for _, r := range table.Routes {
				if r.Weight == 0 {
					t.Fatalf("seed %d: no weight: %+v", seed, r)
				}
			}
			now = now.Add(time.Duration(1+rng.IntN(4000)) * time.Millisecond)
		}
	}
	if drained == 0 || heldBack == 0 {
		t.Errorf("%d addresses drained and %d were held back: the test tests nothing", drained, heldBack)
	}
}

// sinceWhen keeps what is there still, and adds what is there now.
func sinceWhen[K comparable](was map[K]time.Time, now time.Time, is map[K]bool) map[K]time.Time {
	out := map[K]time.Time{}
	for k := range is {
		out[k] = now
		if at, ok := was[k]; ok {
			out[k] = at
		}
	}
	return out
}

func drainingIn(t plan.Table) map[netip.Prefix]bool {
	out := map[netip.Prefix]bool{}
	for _, r := range t.Routes {
		if r.Draining {
			out[r.Prefix] = true
		}
	}
	return out
}

func heldIn(t plan.Table) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, d := range t.Decisions {
		if d.Reason == plan.WithdrawalHeld {
			out[d.Addr] = true
		}
	}
	return out
}

func announcesPrefix(t plan.Table, p netip.Prefix) bool {
	for _, r := range t.Routes {
		if r.Prefix == p {
			return true
		}
	}
	return false
}

// Everything between two tables, with advertisements for some nodes only,
// aggregates, and weights as paths.
func BenchmarkHistory(b *testing.B) {
	c := *testConfig(b)
	c.Peers = append(c.Peers, c.Peers[0])
	c.Peers[1].Name, c.Peers[1].Address, c.Peers[1].Weights = "tor-b", netip.MustParseAddr("10.0.0.2"), config.EncodeAddPath
	c.Peers[1].AddPath = config.AddPathReplication{Width: 64, Prefixes: []netip.Prefix{
		netip.MustParsePrefix("10.2.0.0/24"), netip.MustParsePrefix("10.3.0.0/24"), netip.MustParsePrefix("10.4.0.0/24"),
	}}
	notN1 := config.Selector{MatchExpressions: []config.Requirement{{Key: "rack", Operator: "DoesNotExist"}}}
	c.Advertisements = []config.Advertisement{{NodeSelector: notN1, AggregationLength: 28}, {Peers: []string{"tor-a"}, NodeSelector: notN1}}
	snap := randomCluster(rand.New(rand.NewPCG(1, 1)), 10_000, 100, 10)
	snap.Nodes[1].Labels = map[string]string{"rack": "b"}
	h := history{config: &c}
	now := time.Unix(1_000_000, 0)
	for b.Loop() {
		h.step(snap, now)
		now = now.Add(time.Second)
	}
	if len(h.memory.Last.Routes) == 0 {
		b.Fatal("nothing is announced")
	}
}
