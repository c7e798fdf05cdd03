package plan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

func testConfig(t testing.TB) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(`
apiVersion: heraldlb.io/v1
pools: [{name: public, ranges: [198.18.0.0/15]}]
peers: [{name: tor-a, address: 10.0.0.1, asn: 64512}]
bgp: {asn: 64513}
`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// randomCluster has services on nodes n0.., some sharing addresses, with
// endpoints in all states.
func randomCluster(rng *rand.Rand, services, nodes, endpoints int) cluster.Snapshot {
	var s cluster.Snapshot
	for i := range nodes {
		s.Nodes = append(s.Nodes, cluster.Node{
			Name: fmt.Sprintf("n%d", i), Ready: rng.IntN(10) > 0, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})},
			Deleting: rng.IntN(10) == 0,
		})
	}
	base := netip.MustParseAddr("198.18.0.0").As4()
	for i := range services {
		a := base
		a[2], a[3] = byte(i/2>>8), byte(i/2)
		svc := cluster.Service{
			Namespace: "default", Name: fmt.Sprintf("s%d", i), LoadBalancer: true,
			LocalOnly: rng.IntN(4) > 0, Ingress: []netip.Addr{netip.AddrFrom4(a)},
		}
		for e := range endpoints {
			svc.Endpoints = append(svc.Endpoints, cluster.Endpoint{
				Addr: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(e)}), Node: fmt.Sprintf("n%d", rng.IntN(nodes)),
				Ready: rng.IntN(3) > 0, Serving: true, Terminating: rng.IntN(3) == 0,
			})
		}
		s.Services = append(s.Services, svc)
	}
	return s
}

// The invariants of the design, over random clusters.
func TestProperties(t *testing.T) {
	c := testConfig(t)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		snap := randomCluster(rng, 40, 5, rng.IntN(8))
		weights := map[netip.Addr]map[string]uint32{}
		for _, n := range snap.Nodes {
			in := plan.Input{Self: n.Name, Config: c, Cluster: snap}
			table := plan.Compute(in)
			in.Cluster = shuffled(rng, snap)
			if again := plan.Compute(in); !reflect.DeepEqual(table, again) {
				t.Fatalf("seed %d: the order of the input matters", seed)
			}
			for _, r := range table.Routes {
				if r.Draining {
					continue // the others do not count it any more
				}
				if weights[r.Prefix.Addr()] == nil {
					weights[r.Prefix.Addr()] = map[string]uint32{}
				}
				weights[r.Prefix.Addr()][n.Name] = r.Weight
			}
			checkServed(t, n.Name, snap, table)
		}
		// What each node announces is what the others believe that it does.
		for _, d := range plan.Compute(plan.Input{Self: "n0", Config: c, Cluster: snap}).Decisions {
			believed := map[string]uint32{}
			for _, nw := range d.Nodes {
				believed[nw.Node] = nw.Weight
			}
			if !reflect.DeepEqual(believed, weights[d.Addr]) && len(believed)+len(weights[d.Addr]) > 0 {
				t.Fatalf("seed %d: %s: believed %v, announced %v", seed, d.Addr, believed, weights[d.Addr])
			}
		}
	}
}

// checkServed: no announcement without an endpoint that serves; of a Local
// Service, on this node.
func checkServed(t *testing.T, self string, snap cluster.Snapshot, table plan.Table) {
	t.Helper()
	byKey := map[string]cluster.Service{}
	for _, s := range snap.Services {
		byKey[s.Key()] = s
	}
	for _, d := range table.Decisions {
		if slices.ContainsFunc(d.Nodes, func(n plan.NodeWeight) bool { return n.Node == self }) && d.Draining {
			t.Fatalf("%s counts among the announcers of %s, but drains", self, d.Addr)
		}
		if !d.Announce {
			continue
		}
		served := false
		for _, e := range byKey[d.Service].Endpoints {
			served = served || (e.Ready || e.Serving) && (e.Node == self || !byKey[d.Service].LocalOnly)
		}
		if !served {
			t.Fatalf("%s announces %s for %s without an endpoint", self, d.Addr, d.Service)
		}
	}
}

func shuffled(rng *rand.Rand, s cluster.Snapshot) cluster.Snapshot {
	out := cluster.Snapshot{}
	for _, i := range rng.Perm(len(s.Nodes)) {
		out.Nodes = append(out.Nodes, s.Nodes[i])
	}
	for _, i := range rng.Perm(len(s.Services)) {
		svc := s.Services[i]
		eps := make([]cluster.Endpoint, 0, len(svc.Endpoints))
		for _, j := range rng.Perm(len(svc.Endpoints)) {
			eps = append(eps, svc.Endpoints[j])
		}
		svc.Endpoints = eps
		out.Services = append(out.Services, svc)
	}
	return out
}

func TestNothingWithoutConfiguration(t *testing.T) {
	snap := randomCluster(rand.New(rand.NewPCG(1, 1)), 3, 3, 3)
	if got := plan.Compute(plan.Input{Self: "n0", Cluster: snap}); !reflect.DeepEqual(got, plan.Table{}) {
		t.Errorf("got %+v, want the zero Table", got)
	}
}

func TestEveryReasonHasARemedy(t *testing.T) {
	for _, r := range plan.Reasons() {
		if r.Remedy() == "" {
			t.Errorf("%s: no remedy", r)
		}
	}
}

// Compute must stay cheap: it runs on every event.
func BenchmarkCompute(b *testing.B) {
	snap := randomCluster(rand.New(rand.NewPCG(1, 1)), 10_000, 100, 10)
	in := plan.Input{Self: "n0", Config: testConfig(b), Cluster: snap}
	b.ReportAllocs()
	for b.Loop() {
		plan.Compute(in)
	}
}

// Cluster Services at layer 2: each of 1,000 nodes could own each of 10,000
// addresses.
func BenchmarkComputeLayer2(b *testing.B) {
	snap := randomCluster(rand.New(rand.NewPCG(1, 1)), 20_000, 1000, 1)
	alive := map[string]bool{}
	for _, n := range snap.Nodes {
		alive[n.Name] = true
	}
	for i := range snap.Services {
		snap.Services[i].LocalOnly = false
	}
	c := *testConfig(b)
	c.Pools = slices.Clone(c.Pools)
	c.Pools[0].L2, c.Pools[0].BGP = true, false
	in := plan.Input{Self: "n0", Config: &c, Cluster: snap, Alive: alive}
	b.ReportAllocs()
	for b.Loop() {
		plan.Compute(in)
	}
}

// The pure packages import no library that could reach the world outside.
func TestPureImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/heraldlb/herald/speaker/plan").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, bad := range []string{"k8s.io/client-go", "osrg/gobgp", "net/http", "vishvananda/netlink", "log/slog"} {
		if strings.Contains(string(out), bad) {
			t.Errorf("speaker/plan depends on %s", bad)
		}
	}
}

// A field that is added to Table must be added to Same as well.
func TestSameLooksAtEveryField(t *testing.T) {
	if n := reflect.TypeFor[plan.Table]().NumField(); n != 13 {
		t.Errorf("Table has %d fields: teach Same about the new one, then mend this number", n)
	}
	full := plan.Compute(plan.Input{Self: "n0", Config: testConfig(t), Cluster: randomCluster(rand.New(rand.NewPCG(1, 1)), 3, 3, 9)})
	full.Claims = []plan.Claim{{Addr: vip.Addr(), Links: []string{"eth0"}}}
	full.Rescue.Peers = []plan.RescuePeer{{Name: "n1"}}
	full.ListenPort, full.AddPaths = 179, []plan.AddPath{{Peer: "tor-a", Width: 8}}
	full.Next = time.Unix(1, 0)
	full.Refused = []plan.RefusedPeer{{Name: "tor-a", Problem: "its address is that of tor-b"}}
	for i := range reflect.TypeFor[plan.Table]().NumField() {
		other := full
		field := reflect.ValueOf(&other).Elem().Field(i)
		field.SetZero()
		name := reflect.TypeFor[plan.Table]().Field(i).Name
		zero := reflect.ValueOf(full).Field(i).IsZero()
		if same := full.Same(other); same != (zero || name == "Decisions" || name == "Next") {
			t.Errorf("%s differs: Same is %v", name, same)
		}
	}
}
