package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
)

// servicesOf finds the Services that had the addresses which are lost now, as
// they were in the last snapshot. In the usual case nothing is lost, and it looks
// at no Service.
func (f FuseState) servicesOf(announced, settled map[netip.Addr]bool) map[netip.Addr][]cluster.Service {
	var out map[netip.Addr][]cluster.Service
	for a := range announced {
		if _, held := f.held[a]; !held && !settled[a] {
			if out == nil {
				out = map[netip.Addr][]cluster.Service{}
			}
			out[a] = nil
		}
	}
	if out == nil {
		return nil
	}
	for _, s := range f.seen {
		for _, a := range s.Ingress {
			if of, lost := out[a]; lost {
				out[a] = append(of, s)
			}
		}
	}
	return out
}

// told tells whether the watches told why the address is lost, object by object.
//
//	Service gone, by an event                 -> told
//	Service gone, not in a new list           -> not told
//	Service changed: its address, type, class -> told
//	endpoint gone or terminating              -> told: its pod ended
//	endpoint in a slice that a list lacks     -> not told
//	endpoint not ready any more               -> not told
//	endpoint ready on a node that is not      -> not told, unless the Node was deleted
//
// One cause that was not told is enough. An address of which nothing is known was
// announced from a saved state, and counts as not told.
func (l loss) told(a netip.Addr, now cluster.Snapshot) bool {
	for _, s := range l.services {
		if i, there := slices.BinarySearchFunc(now.Services, s, compareServices); !there {
			if now.Missing.Services[s.Key()] {
				return false
			}
		} else if is := now.Services[i]; keeps(is, a) && !endpointsTold(s, is, a, now) {
			return false
		}
	}
	return len(l.services) > 0
}

func compareServices(a, b cluster.Service) int {
	if a.Namespace == b.Namespace {
		return cmp.Compare(a.Name, b.Name)
	}
	return cmp.Compare(a.Key(), b.Key())
}

// keeps tells whether the Service still asks for the address to be announced.
func keeps(s cluster.Service, a netip.Addr) bool {
	return s.Ours() && !s.Deleting && slices.Contains(s.Ingress, a)
}

func endpointsTold(was, is cluster.Service, a netip.Addr, now cluster.Snapshot) bool {
	if now.Missing.Endpoints[is.Key()] {
		return false
	}
	for _, e := range was.Endpoints {
		if cluster.FamilyOf(e.Addr) != cluster.FamilyOf(a) || !e.Ready && !e.Serving {
			continue
		}
		i := slices.IndexFunc(is.Endpoints, func(x cluster.Endpoint) bool { return x.Addr == e.Addr && x.Node == e.Node })
		if i < 0 {
			continue
		}
		if x := is.Endpoints[i]; !x.Terminating && (!x.Ready || !nodeTold(x.Node, now)) {
			return false
		}
	}
	return true
}

// nodeTold tells whether nothing is wrong with a node, or it was deleted.
func nodeTold(name string, now cluster.Snapshot) bool {
	i, there := slices.BinarySearchFunc(now.Nodes, name, func(n cluster.Node, name string) int { return cmp.Compare(n.Name, name) })
	if !there {
		return !now.Missing.Nodes[name]
	}
	return now.Nodes[i].Ready && !now.Nodes[i].NetworkUnavailable
}
