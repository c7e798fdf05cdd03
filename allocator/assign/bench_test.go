package assign

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

func bigConfig(pools int) *config.Config {
	c := &config.Config{}
	for i := range pools {
		v4, v6 := netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", i))
		c.Pools = append(c.Pools, config.Pool{
			Name: fmt.Sprint("pool", i), AutoAssign: true, AvoidBuggyIPs: true,
			Ranges: []config.Range{
				{From: v4, To: netip.AddrFrom4([4]byte{10, byte(i), 255, 255})},
				{From: v6, To: netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:ffff:ffff:ffff:ffff:ffff", i))},
			},
		})
	}
	return c
}

func manyServices(n int, change func(i int, s *cluster.Service)) []cluster.Service {
	all := make([]cluster.Service, n)
	for i := range all {
		all[i] = cluster.Service{
			Namespace: "bench", Name: fmt.Sprintf("service-%05d", i), LoadBalancer: true, Created: second(i / 10),
			Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, FamilyPolicy: cluster.RequireDualStack,
			Ports: []cluster.Port{{Protocol: "TCP", Port: 80}, {Protocol: "TCP", Port: 443}},
		}
		change(i, &all[i])
	}
	return all
}

func annotate(s *cluster.Service, name, value string) {
	s.Annotations = map[string]string{name: value}
}

// Each case is 10,000 dual-stack Services in pools of a /16 and a /48.
func BenchmarkCompute(b *testing.B) {
	const n = 10_000
	unchanged := func(int, *cluster.Service) {}
	exhausted := &config.Config{Pools: []config.Pool{{Name: "p", AutoAssign: true, Ranges: []config.Range{
		{From: netip.MustParseAddr("192.0.2.0"), To: netip.MustParseAddr("192.0.2.255")},
	}}}}
	apply := func(c *config.Config, services []cluster.Service) []cluster.Service {
		return applied(situation{c, services}, Compute(c, services)).services
	}
	for _, c := range []struct {
		desc     string
		config   *config.Config
		services []cluster.Service
	}{
		{"all new", bigConfig(1), manyServices(n, unchanged)},
		{"all hold", bigConfig(1), apply(bigConfig(1), manyServices(n, unchanged))},
		{"all hold, 200 pools", bigConfig(200), apply(bigConfig(200), manyServices(n, unchanged))},
		{"all ask for an address", bigConfig(1), manyServices(n, func(i int, s *cluster.Service) {
			annotate(s, cluster.AnnotationAddresses, fmt.Sprintf("10.0.%d.%d", 255-i/256, i%256))
		})},
		{"each asks for one of 200 pools", bigConfig(200), manyServices(n, func(i int, s *cluster.Service) {
			annotate(s, cluster.AnnotationPool, fmt.Sprint("pool", i%200))
		})},
		{"all in vain", exhausted, manyServices(n, unchanged)},
		{"one sharing key, one port", bigConfig(1), manyServices(n, func(i int, s *cluster.Service) {
			annotate(s, cluster.AnnotationSharingKey, "k")
		})},
		{"one sharing key, a port for each", bigConfig(1), manyServices(n, func(i int, s *cluster.Service) {
			annotate(s, cluster.AnnotationSharingKey, "k")
			s.Ports = []cluster.Port{{Protocol: "TCP", Port: uint16(i + 1)}}
		})},
		{"all change pools", bigConfig(2), apply(bigConfig(1), manyServices(n, unchanged))},
	} {
		if c.desc == "all change pools" {
			for i := range c.services {
				annotate(&c.services[i], cluster.AnnotationPool, "pool1")
			}
		}
		b.Run(c.desc, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Compute(c.config, c.services)
			}
		})
	}
}
