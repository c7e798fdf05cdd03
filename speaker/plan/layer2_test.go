package plan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

func candidates(weights ...uint32) (out []plan.NodeWeight) {
	for i, w := range weights {
		out = append(out, plan.NodeWeight{Node: fmt.Sprintf("node-%d", i+1), Weight: w})
	}
	return out
}

// owners are those of a thousand addresses.
func owners(family int, list []plan.NodeWeight) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	a := netip.MustParseAddr([]string{"10.77.0.0", "fd77::"}[family])
	for range 1000 {
		out[a] = plan.Owner(a, [6]byte{}, list)
		a = a.Next()
	}
	return out
}

func count(owners map[netip.Addr]string) map[string]int {
	n := map[string]int{}
	for _, o := range owners {
		n[o]++
	}
	return n
}

func TestOwnersSpreadByWeight(t *testing.T) {
	tests := []struct {
		name    string
		weights []uint32
		percent []int // expected
		within  int   // percent of that
	}{
		{"three equal nodes", []uint32{1, 1, 1}, []int{33, 33, 33}, 15},
		{"three equal nodes with many endpoints", []uint32{8, 8, 8}, []int{33, 33, 33}, 15},
		{"three to one", []uint32{3, 1}, []int{75, 25}, 15},
		{"a hundred to a hundred", []uint32{100, 100}, []int{50, 50}, 15},
		{"one node", []uint32{7}, []int{100}, 0},
		{"no weight counts as one", []uint32{0, 1}, []int{50, 50}, 15},
	}
	for _, tt := range tests {
		for family := range 2 {
			got := count(owners(family, candidates(tt.weights...)))
			for i, c := range candidates(tt.weights...) {
				want := 10 * tt.percent[i]
				if n := got[c.Node]; abs(n-want)*100 > tt.within*want+100*10 {
					t.Errorf("%s, family %d: %s owns %d of 1000, want about %d", tt.name, family, c.Node, n, want)
				}
			}
		}
	}
}

func abs(n int) int { return max(n, -n) }

func TestLosingANodeMovesOnlyItsAddresses(t *testing.T) {
	all := candidates(1, 3, 2, 1, 6)
	before := owners(0, all)
	for i, lost := range all {
		rest := append(append([]plan.NodeWeight{}, all[:i]...), all[i+1:]...)
		for a, now := range owners(0, rest) {
			if was := before[a]; was != now && was != lost.Node {
				t.Fatalf("without %s, %s moved from %s to %s", lost.Node, a, was, now)
			}
		}
	}
}

func TestMoreWeightOnlyAttracts(t *testing.T) {
	before, after := owners(1, candidates(2, 2, 2)), owners(1, candidates(2, 3, 2))
	for a, now := range after {
		if was := before[a]; was != now && now != "node-2" {
			t.Fatalf("%s moved from %s to %s", a, was, now)
		}
	}
	for a, now := range owners(1, candidates(17, 16, 17)) { // one pod more among many
		if was := owners(1, candidates(16, 16, 16))[a]; was != now {
			t.Fatalf("%s moved from %s to %s", a, was, now)
		}
		break
	}
}

func TestTheOrderOfCandidatesIsIrrelevant(t *testing.T) {
	list := candidates(1, 2, 3, 4)
	want := owners(0, list)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for a, got := range owners(0, list) {
		if got != want[a] {
			t.Fatalf("%s: %s or %s", a, got, want[a])
		}
	}
	if got := plan.Owner(netip.MustParseAddr("10.0.0.1"), [6]byte{}, nil); got != "" {
		t.Errorf("nobody is there, but %s owns", got)
	}
}

func layer2Config(t *testing.T) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(`
apiVersion: heraldlb.io/v1
pools: [{name: lan, ranges: [198.18.0.0/15], announce: [l2]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Over random clusters and members: at most one node claims an address, it is
// alive and can serve it, and an address that an alive node can serve is claimed.
func TestOneOwnerForEachAddress(t *testing.T) {
	c := layer2Config(t)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		snap := randomCluster(rng, 40, 5, rng.IntN(8))
		alive := map[string]bool{}
		for _, n := range snap.Nodes {
			alive[n.Name] = rng.IntN(4) > 0
		}
		claimed, owned := map[netip.Addr]string{}, map[netip.Addr]string{}
		for _, n := range snap.Nodes {
			table := plan.Compute(plan.Input{Self: n.Name, Config: c, Cluster: snap, Alive: alive})
			if len(table.Routes) > 0 {
				t.Fatalf("seed %d: routes of a pool that is not announced by BGP: %v", seed, table.Routes)
			}
			for _, x := range table.Claims {
				if other, twice := claimed[x.Addr]; twice || !alive[n.Name] {
					t.Fatalf("seed %d: %s is claimed by %s (alive: %v) and %q", seed, x.Addr, n.Name, alive[n.Name], other)
				}
				claimed[x.Addr] = n.Name
			}
			for _, d := range table.Decisions {
				if was, ok := owned[d.Addr]; ok && was != d.Owner {
					t.Fatalf("seed %d: the owner of %s is %q or %q", seed, d.Addr, was, d.Owner)
				}
				owned[d.Addr] = d.Owner
			}
		}
		for a, owner := range owned {
			if claimed[a] != owner {
				t.Fatalf("seed %d: %s is owned by %q and claimed by %q", seed, a, owner, claimed[a])
			}
		}
	}
}
