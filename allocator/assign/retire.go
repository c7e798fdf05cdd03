package assign

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Kept is an address that is in use, and in no pool of the configuration that the user wrote
// last.
type Kept struct {
	Addr    netip.Addr
	Pool    string // that had it
	Service string
}

// Retire is a configuration that keeps what is in use and was in a pool of the
// configuration in force: such addresses are retired in a pool of that name, by
// its new settings if it is still there. So an edit of the ranges takes no address
// away, and speakers announce it on.
func Retire(c, inForce *config.Config, services []cluster.Service) (*config.Config, []Kept) {
	if inForce == nil || c.ReleaseRemoved {
		return c, nil
	}
	var all []Kept
	for i := range services {
		s := &services[i]
		if !s.Ours() || s.Deleting || s.StatusOf != "" {
			continue
		}
		for _, a := range s.Ingress {
			if a = a.Unmap(); c.PoolOf(a) != nil {
				continue
			}
			if old := inForce.PoolOf(a); old != nil {
				all = append(all, Kept{a, old.Name, s.Key()})
			}
		}
	}
	if len(all) == 0 {
		return c, nil
	}
	slices.SortStableFunc(all, func(x, y Kept) int { return x.Addr.Compare(y.Addr) })
	all = slices.CompactFunc(all, func(x, y Kept) bool { return x.Addr == y.Addr }) // sharers, and a Service that was given twice
	if all = keepable(c, inForce, all); len(all) == 0 {
		return c, nil
	}
	return keep(c, inForce, all), all
}

// keepable are those that can be kept. One that cannot, since a peer has the address
// now, takes none of the others with it. They are sought by halves: most often all can.
func keepable(c, inForce *config.Config, all []Kept) []Kept {
	if _, err := config.Parse(keep(c, inForce, all).YAML()); err == nil {
		return all
	}
	if len(all) == 1 {
		return nil
	}
	half := len(all) / 2
	return slices.Concat(keepable(c, inForce, all[:half]), keepable(c, inForce, all[half:]))
}

func keep(c, inForce *config.Config, all []Kept) *config.Config {
	next := *c
	next.Pools = slices.Clone(c.Pools)
	for _, k := range all {
		next.Pools = retireIn(next.Pools, inForce, k)
	}
	return &next
}

func retireIn(pools []config.Pool, inForce *config.Config, k Kept) []config.Pool {
	i := slices.IndexFunc(pools, func(p config.Pool) bool { return p.Name == k.Pool })
	if i < 0 {
		old := *inForce.PoolOf(k.Addr)
		old.Ranges, old.Reserved, old.Retired = nil, nil, nil
		pools = append(pools, old)
		i = len(pools) - 1
	}
	pools[i].Retired = config.Insert(pools[i].Retired, k.Addr)
	return pools
}

// WarnOfKept tells of what is kept.
func WarnOfKept(all []Kept) config.Problems {
	if len(all) == 0 {
		return nil
	}
	first, rest := all[0], " is in no pool any more; it stays, and is announced, until its Service goes or asks for another"
	if len(all) > 1 {
		rest = fmt.Sprintf(" and %d more are in no pool any more; they stay, and are announced, until their Services go or ask for others", len(all)-1)
	}
	return config.Problems{{Path: "pools", Message: fmt.Sprintf("%s of pool %s, which %s has,%s; put the range back, or write onRemoval: release",
		first.Addr, first.Pool, first.Service, rest)}}
}
