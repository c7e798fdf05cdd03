package assign

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

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
		return applied(situation{config: c, services: services}, Compute(c, services, nil, nil)).services
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
				Compute(c.config, c.services, nil, nil)
			}
		})
	}
}

// chained is n Services, each of which holds an address and asks for its neighbour's.
// The last one asks for one that is free, or that somebody keeps, or the first's.
func chained(n int, last string) (*config.Config, []cluster.Service) {
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	services := manyServices(n, func(i int, s *cluster.Service) {
		s.UID, s.Families, s.FamilyPolicy = s.Name, s.Families[:1], cluster.SingleStack
		s.Ingress = []netip.Addr{addr(i)}
		annotate(s, cluster.AnnotationAddresses, addr(i+1).String())
	})
	switch final := &services[n-1]; last {
	case "stays":
		final.Annotations = nil
	case "asks for the first":
		annotate(final, cluster.AnnotationAddresses, addr(0).String())
	}
	return bigConfig(1), services
}

func BenchmarkChained(b *testing.B) {
	for _, last := range []string{"moves", "stays", "asks for the first"} {
		for _, n := range []int{1000, 10_000} {
			b.Run(fmt.Sprintf("the last one %s, of %d", last, n), func(b *testing.B) {
				c, services := chained(n, last)
				for b.Loop() {
					Compute(c, services, nil, nil)
				}
			})
		}
	}
}

// Ten times the Services take some ten times as long, not a hundred times. A step of
// 10,000 took 9 to 17 s.
func TestChainedRequestsAreLinear(t *testing.T) {
	for _, last := range []string{"moves", "stays", "asks for the first"} {
		for _, backwards := range []bool{false, true} {
			c, services := chained(10_000, last)
			for i := range services {
				if services[i].Created = second(i); backwards {
					services[i].Created = second(-i)
				}
			}
			begin := time.Now()
			result := Compute(c, services, nil, nil)
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("the last one %s: %v", last, took)
			}
			moved := 0
			for i, a := range result.Assignments {
				if a.Addrs[0] != services[i].Ingress[0] {
					moved++
				}
			}
			if want := map[string]int{"moves": 10_000, "stays": 0, "asks for the first": 10_000}[last]; moved != want {
				t.Errorf("the last one %s: %d have moved, want %d", last, moved, want)
			}
		}
	}
}
