package plan_test

import (
	"net/netip"
	"testing"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

const quickConf = `apiVersion: heraldlb.io/v1
pools:
- {name: public, ranges: [198.51.100.0/24]}
- {name: plain, ranges: [203.0.113.0/24], flowRescue: off}
- {name: equal, ranges: [192.0.2.0/24], weights: off}
peers: [{name: tor-a, address: 10.0.0.1, asn: 64512}]
bgp: {asn: 64513}
`

// Each row changes one thing of an address whose weights follow at once.
func TestWhoseWeightsFollowQuickly(t *testing.T) {
	c, err := config.Parse([]byte(quickConf))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		desc   string
		change func(*plan.Input, *cluster.Service)
		quick  bool
		slow   string
	}{
		{"TCP, and every node rescues", func(*plan.Input, *cluster.Service) {}, true, ""},
		{"a node does not", func(in *plan.Input, _ *cluster.Service) { in.NotRescuing = map[string]bool{"n2": true} }, false, "flow rescue is off on node n2"},
		{"nor this one", func(in *plan.Input, _ *cluster.Service) { in.NotRescuing = map[string]bool{"n1": true} }, false, "flow rescue is off on node n1"},
		{"a node that does not announce it does not", func(in *plan.Input, _ *cluster.Service) { in.NotRescuing = map[string]bool{"n3": true} }, true, ""},
		{"nothing is known of a node", func(in *plan.Input, _ *cluster.Service) { delete(in.Alive, "n2") }, false, "the gossip does not know node n2"},
		{"no gossip", func(in *plan.Input, _ *cluster.Service) { in.Alive, in.NoLayer2 = nil, true }, false, "flow rescue is off: the speakers have no gossip"},
		{"a port is UDP", func(_ *plan.Input, s *cluster.Service) {
			s.Ports = append(s.Ports, cluster.Port{Protocol: "UDP", Port: 443})
		}, false, "port 443 of default/web is UDP, whose flows are not rescued"},
		{"a sharer has one", func(in *plan.Input, s *cluster.Service) {
			other := *s
			other.Name, other.Ports = "dns", []cluster.Port{{Protocol: "UDP", Port: 53}}
			in.Cluster.Services = append(in.Cluster.Services, other)
		}, false, "port 53 of default/dns is UDP, whose flows are not rescued"},
		{"the pool wants no rescue", func(_ *plan.Input, s *cluster.Service) {
			s.Ingress = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
		}, false, "pool plain has flowRescue: off"},
		{"the pool has no weights", func(_ *plan.Input, s *cluster.Service) {
			s.Ingress = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
		}, false, ""},
		{"Cluster: there are no weights", func(_ *plan.Input, s *cluster.Service) { s.LocalOnly = false }, false, ""},
		{"one node", func(_ *plan.Input, s *cluster.Service) { s.Endpoints = s.Endpoints[:1] }, false, ""},
	} {
		s := cluster.Service{
			Namespace: "default", Name: "web", LoadBalancer: true, LocalOnly: true, Ports: []cluster.Port{{Protocol: "TCP", Port: 443}},
			Ingress: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
			Endpoints: []cluster.Endpoint{
				{Addr: netip.MustParseAddr("10.244.1.2"), Node: "n1", Ready: true}, {Addr: netip.MustParseAddr("10.244.2.2"), Node: "n2", Ready: true},
			},
		}
		in := plan.Input{Self: "n1", Config: c, Alive: map[string]bool{"n1": true, "n2": true, "n3": true}}
		for _, name := range []string{"n1", "n2", "n3"} {
			in.Cluster.Nodes = append(in.Cluster.Nodes, cluster.Node{Name: name, Ready: true})
		}
		tt.change(&in, &s)
		in.Cluster.Services = append([]cluster.Service{s}, in.Cluster.Services...)
		for _, d := range plan.Compute(in).Decisions {
			if d.Quick != tt.quick || d.Slow != tt.slow {
				t.Errorf("%s: quick is %v, slow %q; want %v, %q", tt.desc, d.Quick, d.Slow, tt.quick, tt.slow)
			}
		}
	}
}
