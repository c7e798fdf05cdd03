package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/speaker"
	"github.com/heraldlb/herald/speaker/plan"
)

// replicas gives this host the addresses that routes have as next hops, before
// they are announced, and takes them away after.
type replicas struct {
	aliases interface {
		Add(context.Context, []dataplane.Alias) error
		Keep(context.Context, []dataplane.Alias) error
	}
	bgp speaker.Announcer
}

// Apply implements speaker.Announcer. Without its aliases a node announces
// nothing but its own address: a router would send a share of the traffic to
// nobody.
func (r replicas) Apply(ctx context.Context, t plan.Table) error {
	var want []dataplane.Alias
	for _, a := range t.Aliases() {
		near := t.NextHops.IPv4
		if a.Is6() {
			near = t.NextHops.IPv6
		}
		want = append(want, dataplane.Alias{Addr: a, Near: near})
	}
	added := r.aliases.Add(ctx, want)
	if added != nil {
		t = single(t)
		if errors.Is(added, fs.ErrPermission) {
			added = fmt.Errorf("%w; apply manifests/overlays/add-path or full, which permit it", added)
		}
	}
	return errors.Join(added, r.bgp.Apply(ctx, t), r.aliases.Keep(ctx, want))
}

// single is a table in which each route has one next hop.
func single(t plan.Table) plan.Table {
	t.Routes = slices.Clone(t.Routes)
	for i, r := range t.Routes {
		if len(r.NextHops) > 1 {
			t.Routes[i].NextHops = []netip.Addr{r.NextHops[0]}
		}
	}
	return t
}
