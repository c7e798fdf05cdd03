package explain

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// rescueOf is a node's part in flow rescue. The cluster does not tell who has
// announced an address before, so all nodes that may are taken to.
func rescueOf(in plan.Input, t plan.Table) plan.Rescue {
	t, _, _ = plan.RescueMemory(nil).Remember(t, in, time.Time{})
	return t.Rescue
}

// rescues are the TCP ports of an address for which a node would look for the
// flows that others have begun.
func rescues(in plan.Input, t plan.Table, a netip.Addr) (ports []string) {
	for _, s := range rescueOf(in, t).Services {
		if s.Addr == a {
			ports = append(ports, fmt.Sprint(s.Port))
		}
	}
	return ports
}

// rescue says whether the flows of an address are rescued; empty: it is in no
// pool.
func rescue(c *config.Config, services []cluster.Service, a netip.Addr, ports []string) string {
	if c == nil {
		return ""
	}
	p := c.PoolOf(a)
	switch {
	case p == nil:
		return ""
	case !p.FlowRescue:
		return "off: pool " + p.Name + " has flowRescue: off"
	case !p.BGP || len(c.Peers) == 0:
		return "none: it is not announced by BGP"
	case !hasTCP(services, a):
		return "none: it has no TCP port"
	case len(ports) == 0:
		return "none: there are no two nodes that may announce it"
	default:
		return "auto, for TCP " + strings.Join(ports, ", ")
	}
}

func hasTCP(services []cluster.Service, a netip.Addr) bool {
	for _, s := range services {
		for _, port := range s.Ports {
			for _, has := range s.Ingress {
				if has == a && port.Protocol == "TCP" {
					return true
				}
			}
		}
	}
	return false
}
