package speaker

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/forwarding"
	"github.com/heraldlb/herald/speaker/plan"
)

// Forwarding is what kube-proxy on this node is ready for.
type Forwarding interface {
	// Want names everything that this node would announce; off: without waiting
	// for kube-proxy.
	Want(targets []forwarding.Target, off bool)
	// Joined says when this node joined the cluster; the zero time: it is not known.
	Joined(at time.Time)
	// Forwarding tells whether one of them is forwarded.
	Forwarding(forwarding.Key) forwarding.Answer
	// Others says which other nodes could serve what has outdated rules here.
	Others(nodes map[string]netip.Addr)
	// Able tells whether one of them has a kube-proxy that is well.
	Able(node string) bool
	// Settled tells whether all of them are.
	Settled() bool
	// Wake has an element whenever an answer may have changed.
	Wake() <-chan struct{}
}

// Gateways are the next hops of this host's default routes.
type Gateways interface {
	// Gateways has those that there are.
	Gateways() map[cluster.Family]netip.Addr
	// Wake has an element whenever they may have changed.
	Wake() <-chan struct{}
}

// firstWithin is how long the first table waits for kube-proxy's answers. A
// router that kept our routes over a restart drops those that our first table
// lacks, so it must not be a moment too early; nor may it wait for ever.
const firstWithin = 2 * time.Second

func (s *Speaker) forwardingWake() <-chan struct{} {
	if s.o.Forwarding == nil {
		return nil
	}
	return s.o.Forwarding.Wake()
}

func (s *Speaker) gatewaysWake() <-chan struct{} {
	if s.o.Gateways == nil {
		return nil
	}
	return s.o.Gateways.Wake()
}

// ask has kube-proxy asked about what this node would announce.
func (s *Speaker) ask(snapshot cluster.Snapshot) {
	if s.o.Forwarding != nil {
		s.o.Forwarding.Joined(nodeOf(snapshot, s.o.Node).Created)
		s.o.Forwarding.Want(targets(snapshot, s.o.Node), !s.config.Nodes.ForwardingGate)
	}
}

// early tells whether the first table is better applied a moment later.
func (s *Speaker) early(now time.Time) bool {
	if s.o.Forwarding == nil || !s.began.IsZero() && now.Sub(s.began) >= firstWithin {
		return false
	}
	if s.began.IsZero() {
		s.began = now
	}
	return !s.o.Forwarding.Settled()
}

// forwards is plan.Input.Forwarding.
func (s *Speaker) forwards(service string, a netip.Addr) plan.Forwarded {
	if s.o.Forwarding == nil {
		return plan.Forwarded{OK: true}
	}
	x := s.o.Forwarding.Forwarding(forwarding.Key{Service: service, Family: cluster.FamilyOf(a)})
	return plan.Forwarded{OK: x.OK, Outdated: x.Outdated, Kept: x.Kept, Why: x.Why}
}

// askOthers has those nodes asked that announce what has outdated rules here: only
// if one of them is well, this one leaves an address to it.
func (s *Speaker) askOthers(t plan.Table, nodes []cluster.Node) {
	if s.o.Forwarding == nil {
		return
	}
	others := map[string]netip.Addr{}
	for _, d := range t.Decisions {
		if d.Reason == plan.RulesOutdated {
			s.nextTo(d.Nodes, others, nodes)
		}
	}
	s.o.Forwarding.Others(others)
}

// nextTo adds the nodes that follow this one in a list. So not all nodes ask the
// same ones.
func (s *Speaker) nextTo(list []plan.NodeWeight, into map[string]netip.Addr, nodes []cluster.Node) {
	const some = 3
	from, _ := slices.BinarySearchFunc(list, s.o.Node, func(n plan.NodeWeight, name string) int { return cmp.Compare(n.Node, name) })
	for i := range min(len(list), some+1) {
		name := list[(from+i)%len(list)].Node
		if name == s.o.Node || len(into) >= forwarding.MostOthers {
			continue
		}
		j, ok := slices.BinarySearchFunc(nodes, name, func(n cluster.Node, name string) int { return cmp.Compare(n.Name, name) })
		if ok && len(nodes[j].Addrs) > 0 {
			into[name] = nodes[j].Addrs[0]
		}
	}
}

// targets are the Services, by family, that one node may announce. A Service with
// externalTrafficPolicy Local is asked for by its own port, and only where it
// has a ready endpoint: kube-proxy counts no others there, although it sends to
// those that serve while they terminate when no other is left.
func targets(snapshot cluster.Snapshot, self string) []forwarding.Target {
	node := nodeOf(snapshot, self)
	var out []forwarding.Target
	for _, svc := range snapshot.Services {
		if !svc.Ours() || svc.Deleting || !kubeProxys(svc) {
			continue
		}
		var families []cluster.Family
		for _, a := range svc.Ingress {
			f := cluster.FamilyOf(a)
			if slices.Contains(families, f) || !readyFor(svc, f, self) {
				continue
			}
			families = append(families, f)
			t := forwarding.Target{Key: forwarding.Key{Service: svc.Key(), Family: f}, Addr: a, Endpoints: svc.Endpoints}
			if svc.LocalOnly {
				t.Local = self
			}
			if svc.LocalOnly && svc.HealthPort != 0 && node.Addr(f).IsValid() {
				t.Health = netip.AddrPortFrom(node.Addr(f), svc.HealthPort)
			}
			out = append(out, t)
		}
	}
	return out
}

// kubeProxys tells whether kube-proxy takes care of a Service. One that is left
// to another proxy would wait for ever for kube-proxy's rules.
func kubeProxys(s cluster.Service) bool {
	_, other := s.Labels[cluster.LabelProxy]
	return !other
}

// readyFor tells whether a Service has a ready endpoint that this node sends to.
func readyFor(s cluster.Service, f cluster.Family, self string) bool {
	return slices.ContainsFunc(s.Endpoints, func(e cluster.Endpoint) bool {
		return e.Ready && cluster.FamilyOf(e.Addr) == f && (!s.LocalOnly || e.Node == self)
	})
}

func nodeOf(s cluster.Snapshot, name string) cluster.Node {
	for _, n := range s.Nodes {
		if n.Name == name {
			return n
		}
	}
	return cluster.Node{}
}
