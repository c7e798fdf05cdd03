package assign

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// pools is the configuration's pools, ready to be asked ten thousand times.
type pools struct {
	list   []*pool          // in the order of the file
	order  []*pool          // as they are tried: by priority, then in the order of the file
	named  map[string]*pool // by name
	ranges []owned          // ascending
}

// pool is a configured pool and its addresses by family.
type pool struct {
	*config.Pool
	shelves [2]*shelf // nil: no range of that family
}

// owned is a range and the pool that it belongs to.
type owned struct {
	config.Range
	pool *pool
}

func familyIndex(f cluster.Family) int {
	if f == cluster.IPv6 {
		return 1
	}
	return 0
}

func indexPools(c *config.Config, uses map[netip.Addr]*use) *pools {
	ps := &pools{named: map[string]*pool{}}
	if c == nil {
		return ps
	}
	for i := range c.Pools {
		p := newPool(&c.Pools[i], uses)
		ps.named[p.Name] = p
		ps.list = append(ps.list, p)
		for _, r := range slices.Concat(p.Ranges, p.Retired) {
			ps.ranges = append(ps.ranges, owned{r, p})
		}
	}
	slices.SortFunc(ps.ranges, func(x, y owned) int { return x.From.Compare(y.From) })
	ps.order = slices.Clone(ps.list)
	slices.SortStableFunc(ps.order, func(x, y *pool) int { return cmp.Compare(y.Priority, x.Priority) })
	return ps
}

func newPool(c *config.Pool, uses map[netip.Addr]*use) *pool {
	p := &pool{Pool: c}
	for _, r := range c.Ranges {
		s := &p.shelves[familyIndex(r.Family())]
		if *s == nil {
			*s = newShelf(c, r.Family(), uses)
		}
		(*s).ranges = append((*s).ranges, r)
	}
	for _, r := range c.Retired {
		if s := &p.shelves[familyIndex(r.Family())]; *s == nil {
			*s = newShelf(c, r.Family(), uses)
		}
	}
	return p
}

// of is the pool of an address, or nil. It gives config.PoolOf's answer without
// looking at every pool.
func (ps *pools) of(a netip.Addr) *pool {
	i, found := slices.BinarySearchFunc(ps.ranges, a, func(o owned, a netip.Addr) int { return o.From.Compare(a) })
	if !found {
		i--
	}
	if i < 0 || !ps.ranges[i].Contains(a) {
		return nil
	}
	return ps.ranges[i].pool
}

// candidates is the pools out of which a claim may get an address without asking
// for that very address, but for those that are not for the Service.
func (ps *pools) candidates(c *claim) []*pool {
	if c.request.pool == "" {
		return ps.order
	}
	if p := ps.named[c.request.pool]; p != nil {
		return []*pool{p}
	}
	return nil
}

func (ps *pools) names() string {
	var names []string
	for _, p := range ps.list {
		names = append(names, p.Name)
	}
	return cmp.Or(enumerate(names), "none")
}

// taken tells that an address has its first user.
func (ps *pools) taken(a netip.Addr) {
	if p := ps.of(a); p != nil {
		p.shelf(a).taken(a)
	}
}

// freed tells that an address has lost its last user.
func (ps *pools) freed(a netip.Addr) {
	if p := ps.of(a); p != nil {
		p.shelf(a).freed(a)
	}
}

func (p *pool) shelf(a netip.Addr) *shelf { return p.shelves[familyIndex(cluster.FamilyOf(a))] }

// quarantine keeps addresses for when there are no others.
func (ps *pools) quarantine(addrs []netip.Addr) {
	for _, a := range addrs {
		if p := ps.of(a); p != nil && p.Quarantine > 0 {
			p.shelf(a).quarantine(a)
		}
	}
}

// free is an address that can be handed out, or the zero Addr.
func (p *pool) free(f cluster.Family, quarantined bool) netip.Addr {
	if s := p.shelves[familyIndex(f)]; s != nil {
		return s.free(quarantined)
	}
	return netip.Addr{}
}

func (ps *pools) usage() []PoolUsage {
	var all []PoolUsage
	for _, p := range ps.list {
		for _, s := range p.shelves {
			if s != nil {
				all = append(all, PoolUsage{p.Name, s.family, s.used, s.capacity()})
			}
		}
	}
	return all
}
