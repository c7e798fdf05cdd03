package assign

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Clashes are what the pools hold that is somebody else's in this cluster: nodes,
// pods and the cluster IPs of Services. A file does not show it. What the
// configuration in force holds as well is no fault of the new one, or nobody could
// change that any more; it comes as a warning.
func Clashes(c, inForce *config.Config, s cluster.Snapshot) (faults, warnings config.Problems) {
	said := map[string]bool{}
	clash := func(a netip.Addr, kind, format string, args ...any) {
		i := slices.IndexFunc(c.Pools, func(p config.Pool) bool { return p.Contains(a) })
		if i < 0 {
			return
		}
		path := fmt.Sprintf("pools[%d].ranges", i)
		if said[path+kind] {
			return // a pool in the nodes' network holds a thousand of them
		}
		said[path+kind] = true
		p := config.Problem{Path: path, Message: fmt.Sprintf("pool %s holds ", c.Pools[i].Name) + fmt.Sprintf(format, args...) + "; take it out of the pool"}
		if inForce != nil && inForce.PoolOf(a) != nil {
			warnings = append(warnings, p)
		} else {
			faults = append(faults, p)
		}
	}
	for _, n := range s.Nodes {
		for _, a := range slices.Concat(n.Addrs, n.External) {
			clash(a, "node", "%s, an address of node %s", a, n.Name)
		}
		for _, p := range n.PodCIDRs {
			if a, ok := c.Shares(p); ok {
				clash(a, "pods", "%s, which is in %s, the network of the pods on node %s", a, p, n.Name)
			}
		}
	}
	for i := range s.Services {
		for _, a := range s.Services[i].ClusterIPs {
			clash(a, "cluster IP", "%s, the cluster IP of Service %s, and so the cluster's network of Services", a, s.Services[i].Key())
		}
	}
	return faults, warnings
}
