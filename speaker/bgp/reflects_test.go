package bgp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// A route reflector is known by the paths of other nodes that it hands to this one;
// an internal peer that hands on nothing of its clients is none.
func TestReflectorIsKnown(t *testing.T) {
	t.Parallel()
	for name, reflects := range map[string]bool{"reflector": true, "router": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 2)
			conf := bgpd(64512, "10.8.0.11", "10.8.0.12")
			if reflects {
				conf = strings.ReplaceAll(conf, "neighbor N activate", "neighbor N activate\n  neighbor N route-reflector-client")
			}
			r.router.FRR(conf)
			var nodes []*remote
			for i := range 2 {
				s := tor("tor", "10.8.0.1", 64512, config.Both)
				s.Internal = true
				n := startAnnouncer(t, r.nodes[i])
				n.apply(table(i+1, 64512, []plan.Session{s}, "198.51.100.10/32 1", fmt.Sprintf("198.51.100.2%d/32 1", i)))
				nodes = append(nodes, n)
			}
			known := func() (n int) {
				for _, one := range nodes {
					if p := one.peer("tor"); p.Reflects && p.State == Established {
						n++
					}
				}
				return n
			}
			if !reflects {
				wantFIB(t, 20*time.Second, r.router, "198.51.100.10", "10.8.0.11*1 10.8.0.12*1")
				netlab.Always(t, 8*time.Second, func() string {
					if n := known(); n > 0 {
						return fmt.Sprintf("%d nodes call the router a reflector", n)
					}
					return ""
				})
				return
			}
			netlab.Eventually(t, 30*time.Second, func() string {
				if known() == 0 {
					return "no node knows it"
				}
				return ""
			})
		})
	}
}
