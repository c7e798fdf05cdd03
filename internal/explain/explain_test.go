package explain_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/explain"
)

const conf = `
apiVersion: heraldlb.io/v1
pools: [{name: public, ranges: [198.51.100.0/24]}]
peers: [{name: tor-a, address: 10.0.0.1, asn: 64512}, {name: tor-b, address: 10.0.0.2, asn: 64512}]
bgp: {asn: 64513}
`

func saved() explain.Saved {
	addr := netip.MustParseAddr
	ready := func(a, node string) cluster.Endpoint {
		return cluster.Endpoint{Addr: addr(a), Node: node, Ready: true, Serving: true}
	}
	node := func(name, a string) cluster.Node {
		return cluster.Node{Name: name, Addrs: []netip.Addr{addr(a)}, Ready: true}
	}
	return explain.Saved{Config: conf, Cluster: cluster.Snapshot{
		Nodes: []cluster.Node{node("n1", "10.0.0.11"), node("n2", "10.0.0.12"), node("n3", "10.0.0.13")},
		Services: []cluster.Service{
			{
				Namespace: "default", Name: "web", LoadBalancer: true, LocalOnly: true, Families: []cluster.Family{cluster.IPv4},
				Ingress: []netip.Addr{addr("198.51.100.0")}, Ports: []cluster.Port{{Protocol: "TCP", Port: 80}, {Protocol: "TCP", Port: 443}},
				Endpoints: []cluster.Endpoint{
					ready("10.244.1.2", "n1"), ready("10.244.2.2", "n2"), ready("10.244.2.3", "n2"), ready("10.244.2.4", "n2"),
					{Addr: addr("10.244.3.2"), Node: "n3", Terminating: true, Pod: "default/web-7d9f"},
				},
			},
			{Namespace: "default", Name: "plain"},
			{Namespace: "team-a", Name: "odd", LoadBalancer: true, Class: "example.com/other"},
			{
				Namespace: "team-a", Name: "wants", LoadBalancer: true, Families: []cluster.Family{cluster.IPv4},
				Annotations: map[string]string{cluster.AnnotationPool: "privat"},
			},
		},
	}}
}

func TestService(t *testing.T) {
	tests := map[string]string{
		"default/web": `default/web  type LoadBalancer  externalTrafficPolicy Local  config HASH
allocation: Allocated: has 198.51.100.0 of pool public

198.51.100.0  pool public  peers tor-a (10.0.0.1), tor-b (10.0.0.2)
  n1  announces  weight 1  25.0 % of the traffic
  n2  announces  weight 3  75.0 % of the traffic
  n3  silent     -         NoReadyEndpointOnNode: default/web-7d9f is terminating; ready on n1, n2
  NoReadyEndpointOnNode: nothing, if the pods run elsewhere by intent; else look at the readiness of this node's pods
  flow rescue: auto, for TCP 80, 443
`,
		"default/plain": `default/plain  type other than LoadBalancer  externalTrafficPolicy Cluster  config HASH
not Herald's: it takes care of Services of type LoadBalancer without a class or with class heraldlb.io/herald
`,
		"team-a/odd": `team-a/odd  type LoadBalancer class example.com/other  externalTrafficPolicy Cluster  config HASH
not Herald's: it takes care of Services of type LoadBalancer without a class or with class heraldlb.io/herald
`,
	}
	for key, want := range tests {
		t.Run(key, func(t *testing.T) {
			got := text(t, saved(), key)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestAServiceAtLayer2(t *testing.T) {
	s := saved()
	s.Config = `
apiVersion: heraldlb.io/v1
pools: [{name: public, ranges: [198.51.100.0/24], announce: [l2]}]
`
	const want = `default/web  type LoadBalancer  externalTrafficPolicy Local  config HASH
allocation: Allocated: has 198.51.100.0 of pool public

198.51.100.0  pool public  peers none
  n1  silent   -  NotOwner: n2 owns it
  n2  answers  -  all of the traffic: it owns the address at layer 2
  n3  silent   -  NoReadyEndpointOnNode: default/web-7d9f is terminating; ready on n1, n2
  That takes every node to be alive and its links to be usable; /state of the speaker on n2 knows.
  NoReadyEndpointOnNode: nothing, if the pods run elsewhere by intent; else look at the readiness of this node's pods
  NotOwner: nothing, if another node owns the address; else start the speakers of the nodes that can serve it
  flow rescue: none: it is not announced by BGP
`
	if diff := cmp.Diff(want, text(t, s, "default/web")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Nodes that drain, peers that differ from node to node, and what no
// advertisement selects.
func TestPeersOfNodes(t *testing.T) {
	s := saved()
	s.Config = `
apiVersion: heraldlb.io/v1
pools: [{name: public, ranges: [198.51.100.0/24]}]
peers:
- {name: gateway, addressFrom: {defaultGateway: IPv4}, asn: 64512}
- {name: tor, addressFrom: {nodeAnnotation: tor}, asn: 64512}
advertisements: [{peers: [tor]}]
bgp: {asn: 64513}
`
	s.Cluster.Nodes[0].Annotations = map[string]string{"tor": "10.0.0.7"}
	s.Cluster.Nodes[0].Taints = []string{"heraldlb.io/drain"}
	const want = `default/web  type LoadBalancer  externalTrafficPolicy Local  config HASH
allocation: Allocated: has 198.51.100.0 of pool public

198.51.100.0  pool public  peers gateway (the default gateway), tor (10.0.0.7)
  n1  drains  weight 1  NodeDraining: the node has the taint heraldlb.io/drain
  n2  silent  -         NotAdvertised: the advertisements that select it are for other nodes, or for none of gateway
  n3  silent  -         NoReadyEndpointOnNode: default/web-7d9f is terminating; ready on n2
  NoReadyEndpointOnNode: nothing, if the pods run elsewhere by intent; else look at the readiness of this node's pods
  NotAdvertised: let an entry of advertisements select the address's pool and Service, the node and one of its peers
  NodeDraining: nothing, if the node shall leave; else remove the taint or the annotation that nodes.drainTaint and nodes.drainAnnotation name
  n2  no session with tor: addressFrom: the node has no annotation tor; set it to an IP address, or write the address down
  n3  no session with tor: addressFrom: the node has no annotation tor; set it to an IP address, or write the address down
  flow rescue: auto, for TCP 80, 443
`
	if diff := cmp.Diff(want, text(t, s, "default/web")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestFlowRescue(t *testing.T) {
	tests := map[string]struct {
		config string // replaces the pool's
		change func(*explain.Saved)
		want   string
	}{
		"on":                   {"", func(*explain.Saved) {}, "auto, for TCP 80, 443"},
		"switched off":         {", flowRescue: off", func(*explain.Saved) {}, "off: pool public has flowRescue: off"},
		"at layer 2 alone":     {", announce: [l2]", func(*explain.Saved) {}, "none: it is not announced by BGP"},
		"without TCP":          {"", func(s *explain.Saved) { s.Cluster.Services[0].Ports = s.Cluster.Services[0].Ports[:0] }, "none: it has no TCP port"},
		"a cluster of one":     {"", func(s *explain.Saved) { s.Cluster.Nodes = s.Cluster.Nodes[:1] }, "none: there are no two nodes that may announce it"},
		"an address of nobody": {"", func(s *explain.Saved) { s.Cluster.Services[0].Ingress[0] = netip.MustParseAddr("203.0.113.9") }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := saved()
			s.Config = strings.Replace(s.Config, "]}]\npeers", "]"+tt.config+"}]\npeers", 1)
			tt.change(&s)
			_, got, _ := strings.Cut(text(t, s, "default/web"), "\n  flow rescue: ")
			if got = strings.TrimSpace(got); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAServiceThatWaitsIsToldWhatToDo(t *testing.T) {
	got := text(t, saved(), "team-a/wants")
	for _, want := range []string{"PoolNotFound", `privat`, "to do: "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestAServiceThatAnotherControllerServes(t *testing.T) {
	s := saved()
	s.Cluster.Services[0].Ingress, s.Cluster.Services[0].StatusOf = []netip.Addr{netip.MustParseAddr("203.0.113.9")}, "k3s"
	got := text(t, s, "default/web")
	if !strings.Contains(got, "allocation: ServedByAnother: its status is written by k3s") || strings.Contains(got, "is the allocator running") {
		t.Errorf("got\n%s", got)
	}
}

func TestWithoutAcceptedConfiguration(t *testing.T) {
	s := saved()
	s.Config = ""
	if got := text(t, s, "default/web"); !strings.Contains(got, "none accepted yet") {
		t.Errorf("got\n%s", got)
	}
}

func TestUnknownService(t *testing.T) {
	err := explain.Service(&strings.Builder{}, saved(), "default/wants", nil)
	if !errors.Is(err, explain.ErrNotFound) || !strings.Contains(err.Error(), "did you mean team-a/wants?") {
		t.Errorf("got %v", err)
	}
}

// text replaces the hash, which changes with every new default.
func text(t *testing.T, s explain.Saved, key string, answers ...explain.Answer) string {
	t.Helper()
	var b strings.Builder
	if err := explain.Service(&b, s, key, answers); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	if i := strings.Index(out, "  config "); i >= 0 && s.Config != "" {
		line, rest, _ := strings.Cut(out, "\n")
		out = line[:i] + "  config HASH\n" + rest
	}
	return out
}
