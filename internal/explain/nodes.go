package explain

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// AnnouncingNodes are the nodes that announce a Service by BGP, as far as the
// cluster tells. Whether they have sessions to announce it over it does not: ask
// them.
func AnnouncingNodes(in Saved, key string) (names []string) {
	c, near, svc := about(in, key)
	if c == nil {
		return nil
	}
	for _, n := range near.Nodes {
		t := plan.Compute(plan.Input{Self: n.Name, Config: c, Cluster: near, Gateways: gateways})
		if slices.ContainsFunc(t.Decisions, func(d plan.Decision) bool { return d.Announce && d.Service == svc.Key() }) {
			names = append(names, n.Name)
		}
	}
	return names
}

// AnnouncedAddrs are the addresses of a Service that nodes announce by BGP, as far
// as the cluster tells.
func AnnouncedAddrs(in Saved, key string) (addrs []netip.Addr) {
	c, near, svc := about(in, key)
	if c == nil {
		return nil
	}
	for _, n := range near.Nodes {
		for _, d := range plan.Compute(plan.Input{Self: n.Name, Config: c, Cluster: near, Gateways: gateways}).Decisions {
			if d.Announce && d.Service == svc.Key() && !slices.Contains(addrs, d.Addr) {
				addrs = append(addrs, d.Addr)
			}
		}
	}
	return addrs
}

// Addrs are the addresses that a Service of ours has.
func Addrs(in Saved, key string) []netip.Addr {
	c, _, svc := about(in, key)
	if c == nil {
		return nil
	}
	return svc.Ingress
}

// RescueNodes are the nodes that must rescue flows of a Service, or may be asked
// for them. Whether they do so the cluster does not tell: ask them.
func RescueNodes(in Saved, key string) []string {
	c, near, svc := about(in, key)
	if c == nil {
		return nil
	}
	return rescueNodes(c, near, svc)
}

// about is what a Service of ours depends on. Without a configuration, or of
// another's Service, there is none.
func about(in Saved, key string) (*config.Config, cluster.Snapshot, cluster.Service) {
	svc, err := find(in.Cluster.Services, key)
	if err != nil || !svc.Ours() || svc.Deleting {
		return nil, cluster.Snapshot{}, svc
	}
	c, _, err := parse(in.Config)
	if err != nil {
		return nil, cluster.Snapshot{}, svc
	}
	return c, cluster.Snapshot{Services: sharers(in.Cluster.Services, svc), Nodes: in.Cluster.Nodes}, svc
}

// rescueNodes asks the first node's plan that has any: all know the same others.
func rescueNodes(c *config.Config, near cluster.Snapshot, svc cluster.Service) []string {
	for _, n := range near.Nodes {
		in := plan.Input{Self: n.Name, Config: c, Cluster: near, Gateways: gateways}
		r := rescueOf(in, plan.Compute(in))
		if !slices.ContainsFunc(r.Services, func(s plan.RescueService) bool { return slices.Contains(svc.Ingress, s.Addr) }) {
			continue
		}
		out := []string{n.Name}
		for _, p := range r.Peers {
			out = append(out, p.Name)
		}
		slices.Sort(out)
		return out
	}
	return nil
}
