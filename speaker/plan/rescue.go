package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Rescue is what this node needs to lead a TCP connection back that has reached
// it although it began on another node: for what to look, and whom to ask. A node
// that nobody would ask has the zero value.
type Rescue struct {
	// Services are all those of the pools with FlowRescue, also such as this node
	// does not announce: it may be asked for them, and must not let its kube-proxy
	// answer, which would reset a connection that it does not know.
	Services []RescueService // sorted by address, then port
	Peers    []RescuePeer    // sorted by name; never this node
}

// RescueService is where TCP connections come in.
type RescueService struct {
	Addr netip.Addr
	Port uint16
}

// RescuePeer is a node that takes part, with its InternalIPs; one of them may be
// invalid.
type RescuePeer struct {
	Name       string
	IPv4, IPv6 netip.Addr
	// Ask: it may know connections that come to this node. Any peer may ask, even
	// one that this node does not ask: its speaker may know of a change before ours
	// does, or may have only just begun.
	Ask bool
	// Off: it would be asked, but says that it does not answer.
	Off bool
}

func (r Rescue) equal(o Rescue) bool {
	return slices.Equal(r.Services, o.Services) && slices.Equal(r.Peers, o.Peers)
}

// rescuing is one run of Remember.
type rescuing struct {
	in    Input
	nodes map[string]cluster.Node
	pools map[string]*config.Pool // those with FlowRescue, by name
	speak map[string]bool         // nodes that can have a session
}

func newRescuing(in Input) rescuing {
	x := rescuing{in: in, nodes: make(map[string]cluster.Node, len(in.Cluster.Nodes)), pools: map[string]*config.Pool{}, speak: map[string]bool{}}
	for _, n := range in.Cluster.Nodes {
		x.nodes[n.Name] = n
		sessions, _ := sessionsOf(in.Config, n, anyGateway)
		x.speak[n.Name] = len(sessions) > 0
	}
	if len(in.Config.Peers) == 0 {
		return x // without BGP no router moves anything
	}
	for i := range in.Config.Pools {
		if p := &in.Config.Pools[i]; p.FlowRescue && p.BGP {
			x.pools[p.Name] = p
		}
	}
	return x
}

// announcing are the nodes that announce an address of each pool. Cluster
// Services share one list of nodes, which is looked at once for each pool.
func (x rescuing) announcing(t Table) map[string]map[string]bool {
	type list struct {
		pool string
		at   *NodeWeight
	}
	seen, out := map[list]bool{}, map[string]map[string]bool{}
	for name := range x.pools {
		out[name] = map[string]bool{}
	}
	for _, d := range t.Decisions {
		nodes, ok := out[d.Pool]
		if !ok {
			continue
		}
		if d.Announce {
			nodes[x.in.Self] = true
		}
		if len(d.Nodes) == 0 || seen[list{d.Pool, &d.Nodes[0]}] {
			continue
		}
		seen[list{d.Pool, &d.Nodes[0]}] = true
		for _, n := range d.Nodes {
			nodes[n.Node] = true
		}
	}
	return out
}

// may tells whether a node is one that announces addresses of the pool when all
// is well, whatever its condition is now. All nodes must come to the same answer.
func (x rescuing) may(n cluster.Node, p *config.Pool) bool {
	_, excluded := n.Labels[cluster.LabelExclude]
	return x.speak[n.Name] && !excluded && p.NodeSelector.Matches(n.Labels)
}

// group are the nodes that may know connections to addresses of a pool.
func (x rescuing) group(p *config.Pool, mem RescuePool, fresh bool) map[string]bool {
	out := map[string]bool{}
	for _, name := range mem.Now {
		out[name] = true
	}
	for name := range mem.Left {
		out[name] = true
	}
	if fresh {
		for _, n := range x.in.Cluster.Nodes {
			if x.may(n, p) {
				out[n.Name] = true
			}
		}
	}
	return out
}

// rescue is the part of the table.
//
//	both nodes announce addresses of one pool, or have -> this node asks that one
//	the other may announce, or has                     -> it may ask this node
//	this node may not announce, and has not            -> nobody asks it
func (x rescuing) rescue(groups map[string]map[string]bool) Rescue {
	self := x.nodes[x.in.Self]
	if self.Name == "" || !x.takesPart(self, groups) {
		return Rescue{}
	}
	r := Rescue{Peers: x.peers(groups), Services: x.services()}
	if len(r.Peers) == 0 || len(r.Services) == 0 {
		return Rescue{}
	}
	return r
}

func (x rescuing) takesPart(n cluster.Node, groups map[string]map[string]bool) bool {
	for name, group := range groups {
		if group[n.Name] || x.may(n, x.pools[name]) {
			return true
		}
	}
	return false
}

func (x rescuing) peers(groups map[string]map[string]bool) []RescuePeer {
	var out []RescuePeer
	for _, n := range x.in.Cluster.Nodes {
		p := RescuePeer{Name: n.Name, IPv4: n.Addr(cluster.IPv4), IPv6: n.Addr(cluster.IPv6)}
		if n.Name == x.in.Self || !p.IPv4.IsValid() && !p.IPv6.IsValid() || !x.takesPart(n, groups) {
			continue
		}
		for _, group := range groups {
			p.Ask = p.Ask || group[n.Name] && group[x.in.Self]
		}
		if x.in.NotRescuing[n.Name] {
			p.Ask, p.Off = false, p.Ask
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b RescuePeer) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (x rescuing) services() []RescueService {
	var out []RescueService
	for _, s := range x.in.Cluster.Services {
		if !s.Ours() || s.Deleting {
			continue
		}
		for _, a := range s.Ingress {
			if p := x.in.Config.PoolOf(a); p == nil || x.pools[p.Name] == nil {
				continue
			}
			for _, port := range s.Ports {
				if port.Protocol == "TCP" {
					out = append(out, RescueService{a, port.Port})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b RescueService) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port)) })
	return slices.Compact(out)
}
