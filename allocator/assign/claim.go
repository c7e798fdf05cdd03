package assign

import (
	"net/netip"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
)

// claim is what one Service has and wants.
type claim struct {
	svc     *cluster.Service
	key     string
	sharing string // the sharing key; empty: shares with nobody
	request request
	theirs  bool   // the ingress is another controller's
	slots   []slot // one per wanted family, in the order of spec.ipFamilies
	fault   fault  // of the Service as a whole
	what    string // of a claim that is no Service's status: what the address is
}

// slot is the place for one address of a claim.
type slot struct {
	family cluster.Family
	want   netip.Addr // asked for; invalid: any
	addr   netip.Addr // invalid: none
	fault  fault      // why addr is not what the Service asks for

	lost     netip.Addr // was in the status, but is lostTo's
	lostTo   *claim
	lostPort string // of the address, if the two could share it but for that
}

// fault is why something asked for is not so. Its zero value is none.
type fault struct {
	reason Reason
	text   string
}

func newClaim(svc *cluster.Service) *claim {
	c := &claim{svc: svc, key: svc.Key(), sharing: sharingKey(svc), theirs: svc.StatusOf != ""}
	families := wantedFamilies(svc)
	c.request, c.fault = readRequest(svc, families)
	c.slots = make([]slot, len(families))
	for i, f := range families {
		c.slots[i] = slot{family: f, want: c.request.addr(f)}
	}
	return c
}

// sharingKey goes without the blanks around it, as the other annotations do: a block
// of YAML ends in a line break.
func sharingKey(svc *cluster.Service) string {
	return strings.TrimSpace(svc.Annotations[cluster.AnnotationSharingKey])
}

var onlyIPv4 = []cluster.Family{cluster.IPv4}

// wantedFamilies is spec.ipFamilies as far as spec.ipFamilyPolicy lets it count.
func wantedFamilies(svc *cluster.Service) []cluster.Family {
	switch f := svc.Families; {
	case len(f) == 0:
		return onlyIPv4
	case len(f) == 1 || f[0] == f[1] || !dualStack(svc):
		return f[:1]
	default:
		return f[:2]
	}
}

func dualStack(svc *cluster.Service) bool {
	return svc.FamilyPolicy == cluster.PreferDualStack || svc.FamilyPolicy == cluster.RequireDualStack
}

// held is the address of the slot's family in the status. Should there be more,
// then the one that is asked for, or else the first. What another controller has
// written counts if a pool could have given it; then the Service need not move.
func (a *allocation) held(c *claim, s *slot) netip.Addr {
	var first netip.Addr
	for _, addr := range c.svc.Ingress {
		addr = addr.Unmap()
		if !addr.IsValid() || cluster.FamilyOf(addr) != s.family || c.theirs && !a.gives(addr, c) {
			continue
		}
		if addr == s.want {
			return addr
		}
		if !first.IsValid() {
			first = addr
		}
	}
	return first
}

// gives tells whether a pool could give the Service the address.
func (a *allocation) gives(addr netip.Addr, c *claim) bool {
	p := a.pools.of(addr)
	return p != nil && p.Serves(c.svc) && !p.IsRetired(addr)
}

// empty tells whether the Service has no address at all.
func (c *claim) empty() bool {
	for i := range c.slots {
		if c.slots[i].addr.IsValid() {
			return false
		}
	}
	return true
}

// rank puts those who ask for an address before those who ask for a pool, since
// the latter can be served by another address of it.
func (c *claim) rank() int {
	switch {
	case len(c.request.addrs) > 0:
		return 0
	case c.request.pool != "":
		return 1
	default:
		return 2
	}
}
