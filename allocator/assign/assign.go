// Package assign decides which Service has which address, and why not.
//
// Compute is pure: it knows no clock, no log and no network, keeps no state
// between two calls, and the order of its input is irrelevant. What the
// Services have in their status is its only memory, so a restart computes the
// same answer, and an address never moves by itself.
package assign

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Result is the whole answer, never a delta.
type Result struct {
	Assignments []Assignment // sorted by Service
	Pools       []PoolUsage  // in the order of the configuration, IPv4 before IPv6
}

// Assignment is what the status of one Service must say.
type Assignment struct {
	Service   string       // namespace/name
	UID       string       // of the Service, so that a new one of the same name is told apart
	Allocated bool         // has at least one address; Reason tells whether all is well
	Addrs     []netip.Addr // in the order of spec.ipFamilies; exactly what the status must show
	Untouched bool         // the ingress is another controller's and stays as it is: there is nothing to replace it by
	Pools     []string     // parallel to Addrs; empty: in no pool
	Reason    Reason
	Message   string // what is so and what to do about it
}

// PoolUsage is how full one family of a pool is. Numbers stop at the highest
// uint64.
type PoolUsage struct {
	Pool     string
	Family   cluster.Family
	Assigned uint64 // addresses in use, each counted once however many Services share it
	Capacity uint64 // Assigned, and what can still be handed out automatically
}

// Compute decides about every Service of ours. Its order of precedence is:
//
//	holders    keep what their status says; of two that may not share, the older
//	requests   for an address, then for a pool
//	the others
//
// each by creation time, then by key. c is nil while no configuration has been
// accepted; holders keep their addresses then, and nothing is handed out. The
// addresses of nodes are nobody else's. Those in quarantine, the one that was left
// first in front, are handed out when no other is free, or to who asks for them.
func Compute(c *config.Config, services []cluster.Service, nodes []cluster.Node, quarantined []netip.Addr) Result {
	ledger := newLedger(c, len(services))
	ledger.pools.quarantine(quarantined)
	a := allocation{config: c, ledger: ledger, pools: ledger.pools}
	a.keep(services, nodes)
	if c != nil {
		a.settle()
	}
	return Result{Assignments: a.report(services), Pools: a.pools.usage()}
}

// allocation is one run of Compute.
type allocation struct {
	config *config.Config // nil: none yet
	pools  *pools
	ledger *ledger
	claims []*claim           // by creation time, then key
	others []*cluster.Service // that could be ours, and are served by another controller
}

// keep enters what the Services have already, before anything is handed out.
func (a *allocation) keep(services []cluster.Service, nodes []cluster.Node) {
	foreign := ofNodes(nodes)
	for i := range services {
		svc := &services[i]
		if len(svc.ExternalIPs) > 0 {
			foreign = append(foreign, external(svc))
		}
		switch {
		case !svc.LoadBalancer:
		case svc.Deleting:
			// A finalizer may keep it for long, and as long as it is there kube-proxy
			// sends its address to its pods, by the ports that it has.
			c := &claim{svc: svc, key: svc.Key()}
			if svc.Ours() && svc.StatusOf == "" {
				c.sharing = sharingKey(svc)
			}
			foreign = append(foreign, c)
		case svc.Ours() && svc.Another():
			foreign = append(foreign, &claim{svc: svc, key: svc.Key()})
			a.others = append(a.others, svc)
		case svc.Ours():
			a.claims = append(a.claims, newClaim(svc))
		default:
			// Also one that was ours: until its status lets go of the address, it is in
			// use there.
			foreign = append(foreign, &claim{svc: svc, key: svc.Key()})
		}
	}
	slices.SortFunc(a.claims, byAge)
	for _, c := range a.claims {
		a.keepHeld(c)
		if c.theirs {
			foreign = append(foreign, a.shadow(c))
		}
	}
	slices.SortFunc(foreign, byAge)
	for _, c := range foreign {
		a.keepForeign(c)
	}
}

// external is the claim of a Service, of any type, to its spec.externalIPs.
func external(svc *cluster.Service) *claim {
	s := &cluster.Service{Namespace: svc.Namespace, Name: svc.Name, Created: svc.Created, Ingress: svc.ExternalIPs}
	return &claim{svc: s, key: svc.Key(), what: "is in spec.externalIPs of " + svc.Key()}
}

// ofNodes is what belongs to the nodes themselves. A Service that had such an address
// would draw the node's own traffic, its BGP sessions first.
func ofNodes(nodes []cluster.Node) (all []*claim) {
	for _, n := range nodes {
		s := &cluster.Service{Name: n.Name, Ingress: slices.Concat(n.Addrs, n.External)}
		all = append(all, &claim{svc: s, key: n.Name, what: "is an address of node " + n.Name})
	}
	return all
}

func byAge(x, y *claim) int {
	return cmp.Or(x.svc.Created.Compare(y.svc.Created), cmp.Compare(x.key, y.key))
}

func (a *allocation) keepHeld(c *claim) {
	for i := range c.slots {
		s := &c.slots[i]
		held := a.held(c, s)
		if !held.IsValid() {
			continue
		}
		if holder := a.ledger.conflictOfHolders(held, c); holder != nil {
			s.lost, s.lostTo = held, holder
			if u := a.ledger.uses[held]; u.sharedOnce(c) {
				s.lostPort = clashing(u, c)
			}
			continue
		}
		a.ledger.take(held, c)
		s.addr = held
	}
}

// shadow keeps from others what another controller has given to a Service of ours
// and what that does not keep, since it shows there until Herald has something
// better.
func (a *allocation) shadow(c *claim) *claim {
	rest := *c.svc
	rest.Ingress = slices.DeleteFunc(slices.Clone(rest.Ingress), func(addr netip.Addr) bool {
		return slices.ContainsFunc(c.slots, func(s slot) bool { return s.addr == addr.Unmap() })
	})
	return &claim{svc: &rest, key: c.key}
}

// keepForeign keeps our hands off addresses that another controller has given to
// its Services, which would be two owners on one wire, and off those of Services
// that are being deleted. Services of ours that hold one keep it: it never moves
// by itself.
func (a *allocation) keepForeign(c *claim) {
	for _, addr := range c.svc.Ingress {
		addr = addr.Unmap()
		if addr.IsValid() && !a.ledger.isOwn(addr, c) {
			a.ledger.take(addr, c)
		}
	}
}
