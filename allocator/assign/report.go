package assign

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
)

// report tells the outcome, sorted by Service.
func (a *allocation) report(services []cluster.Service) []Assignment {
	all := make([]Assignment, 0, len(a.claims))
	for _, c := range a.claims {
		all = append(all, a.assignment(c))
	}
	for _, svc := range a.others {
		all = append(all, leftAlone(svc))
	}
	for i := range services {
		if svc := &services[i]; !svc.Ours() && !svc.Deleting && svc.Condition.Reason != "" {
			all = append(all, Assignment{
				Service: svc.Key(), UID: svc.UID, Reason: Released,
				Message: "is no longer a Service of Herald; the address that Herald gave it is free",
			})
		}
	}
	slices.SortFunc(all, func(x, y Assignment) int { return cmp.Compare(x.Service, y.Service) })
	return all
}

func (a *allocation) assignment(c *claim) Assignment {
	if c.theirs && c.empty() && !c.svc.Asked() {
		return leftAlone(c.svc) // it was Herald's once, but Herald has nothing for it any more
	}
	r := Assignment{Service: c.key, UID: c.svc.UID, Allocated: !c.empty(), Untouched: c.theirs && c.empty()}
	if r.Allocated {
		r.Addrs, r.Pools = make([]netip.Addr, 0, len(c.slots)), make([]string, 0, len(c.slots))
	}
	for i := range c.slots {
		if addr := c.slots[i].addr; addr.IsValid() {
			r.Addrs = append(r.Addrs, addr)
			r.Pools = append(r.Pools, a.poolName(addr))
		}
	}
	if a.config == nil {
		r.Reason, r.Message = c.unconfigured(r)
		return r
	}
	faults := a.faults(c)
	r.Reason = Allocated
	if len(faults) > 0 {
		r.Reason = c.severity(faults[0].reason, len(r.Addrs))
	}
	r.Message = message(r, faults)
	return r
}

func leftAlone(svc *cluster.Service) Assignment {
	return Assignment{
		Service: svc.Key(), UID: svc.UID, Untouched: true, Reason: ServedByAnother,
		Message: "its status is written by " + cluster.Word(svc.StatusOf) + "; " + ServedByAnother.Remedy(),
	}
}

func (a *allocation) poolName(addr netip.Addr) string {
	if p := a.pools.of(addr); p != nil {
		return p.Name
	}
	return ""
}

// faults lists all that the user should know, the most urgent first.
func (a *allocation) faults(c *claim) []fault {
	all := c.losses()
	for i := range c.slots {
		addr := c.slots[i].addr
		if !addr.IsValid() {
			continue
		}
		switch p := a.pools.of(addr); {
		case p == nil:
			all = append(all, fault{AddressNotInPool, fmt.Sprintf("%s is in no pool, so no speaker announces it", addr)})
		case p.IsRetired(addr):
			all = append(all, fault{AddressRetired, fmt.Sprintf("%s is retired in pool %s, and announced on", addr, p.Name)})
		}
	}
	if c.fault.reason != "" {
		all = append(all, c.fault)
	}
	for i := range c.slots {
		if f := c.slots[i].fault; f.reason != "" {
			all = append(all, f)
		}
	}
	return all
}

// losses tells of addresses that went to an older Service, unless it left them
// after all.
func (c *claim) losses() []fault {
	var all []fault
	for i := range c.slots {
		if s := &c.slots[i]; s.lost.IsValid() && s.lost != s.addr {
			text := fmt.Sprintf("%s belongs to %s, which is older", s.lost, s.lostTo.key)
			if s.lostPort != "" {
				text = fmt.Sprintf("%s of %s belongs to %s, which is older", s.lostPort, s.lost, s.lostTo.key)
			}
			all = append(all, fault{AddressConflict, text})
		}
	}
	return all
}

// severity is the reason of a claim whose first fault is r. Having one family
// only is what PreferDualStack asks for where there is no more.
func (c *claim) severity(r Reason, addrs int) Reason {
	lacks := r == NoPool || r == PoolExhausted
	if lacks && c.svc.FamilyPolicy == cluster.PreferDualStack && 0 < addrs && addrs < len(c.slots) {
		return PartlyAllocated
	}
	return r
}

// unconfigured repeats what was said before the allocator restarted, so that a
// restart changes no status.
func (c *claim) unconfigured(r Assignment) (Reason, string) {
	losses := c.losses()
	switch before := c.svc.Condition; {
	case len(losses) > 0:
		return AddressConflict, message(Assignment{Addrs: r.Addrs, Reason: AddressConflict}, losses)
	case before.Allocated && r.Allocated && slices.Contains(Reasons(), Reason(before.Reason)):
		return Reason(before.Reason), before.Message
	default:
		none := fault{NoConfiguration, "no valid configuration has been seen yet"}
		return none.reason, message(Assignment{Addrs: r.Addrs, Reason: none.reason}, []fault{none})
	}
}

// message says what the Service has, what is wrong, and what to do about it.
func message(r Assignment, faults []fault) string {
	if len(faults) == 0 {
		return has(r)
	}
	parts := []string{has(r)}
	for _, f := range faults {
		if !slices.Contains(parts, f.text) {
			parts = append(parts, f.text)
		}
	}
	if remedy := r.Reason.Remedy(); remedy != "" {
		parts = append(parts, remedy)
	}
	return strings.Join(parts, "; ")
}

// has goes without fmt, since it is asked for every Service at every turn.
func has(r Assignment) string {
	if len(r.Addrs) == 0 {
		return "has no address"
	}
	text := "has "
	for i, addr := range r.Addrs {
		if i > 0 {
			text += " and "
		}
		text += addr.String()
		if i < len(r.Pools) && r.Pools[i] != "" {
			text += " of pool " + r.Pools[i]
		}
	}
	return text
}
