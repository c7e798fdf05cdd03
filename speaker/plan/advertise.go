package plan

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// speakers knows what is announced to whom by BGP, and by which nodes.
type speakers struct {
	entries []entry
	names   []string      // of this node's sessions
	refused []RefusedPeer // of this node
	cache   map[shared][]NodeWeight
}

// entry is an advertisement, and whom it concerns.
type entry struct {
	*config.Advertisement
	attributes *config.Attributes // nil: none
	sessions   []Session          // of this node
	nodes      map[string]bool    // that have a session for it
	everywhere bool               // all nodes have
}

// everything is what holds without an advertisement: all to everyone.
var everything = config.Advertisement{}

// speakersOf looks at all nodes, since each must know which of the others
// announce. What only a node itself knows of its sessions is assumed for others.
func speakersOf(in Input, sessions []Session, refused []RefusedPeer) *speakers {
	b := &speakers{refused: refused, cache: map[shared][]NodeWeight{}}
	for i := range in.Config.Advertisements {
		ad := &in.Config.Advertisements[i]
		e := entry{Advertisement: ad, nodes: map[string]bool{}, everywhere: true}
		if !ad.Equal(&config.Attributes{}) {
			e.attributes = &ad.Attributes
		}
		b.entries = append(b.entries, e)
	}
	if len(b.entries) == 0 {
		b.entries = []entry{{Advertisement: &everything, nodes: map[string]bool{}, everywhere: true}}
	}
	for _, s := range sessions {
		b.names = append(b.names, s.Name)
	}
	for _, n := range in.Cluster.Nodes {
		if n.Name == in.Self {
			b.add(n, sessions)
			b.own(n, sessions)
			continue
		}
		theirs, _ := sessionsOf(in.Config, n, anyGateway)
		b.add(n, theirs)
	}
	return b
}

// add notes which advertisements a node has a session for.
func (b *speakers) add(n cluster.Node, sessions []Session) {
	for i, e := range b.entries {
		speaks := e.NodeSelector.Matches(n.Labels) && slices.ContainsFunc(sessions, e.wants)
		b.entries[i].everywhere = e.everywhere && speaks
		if speaks {
			e.nodes[n.Name] = true
		}
	}
}

// own notes which sessions of this node each advertisement is for.
func (b *speakers) own(n cluster.Node, sessions []Session) {
	for i, e := range b.entries {
		if e.nodes[n.Name] {
			b.entries[i].sessions = slices.DeleteFunc(slices.Clone(sessions), func(s Session) bool { return !e.wants(s) })
		}
	}
}

func (e entry) wants(s Session) bool { return len(e.Peers) == 0 || slices.Contains(e.Peers, s.Name) }

func (e entry) selects(s cluster.Service, p *config.Pool) bool {
	return (len(e.Pools) == 0 || slices.Contains(e.Pools, p.Name)) &&
		(len(e.Namespaces) == 0 || slices.Contains(e.Namespaces, s.Namespace)) &&
		e.ServiceSelector.Matches(s.Labels)
}

// selecting adds the entries that select a Service to those of its address.
func (b *speakers) selecting(to []int, s cluster.Service, p *config.Pool) []int {
	for i, e := range b.entries {
		if !slices.Contains(to, i) && e.selects(s, p) {
			to = append(to, i)
		}
	}
	slices.Sort(to)
	return to
}

// shared names a list that many addresses share, and what selects among it.
type shared struct {
	list    *NodeWeight
	entries string
}

// among are those of the nodes that announce what the entries select. all is the
// list that Cluster Services share; it is looked through once for all of them.
func (b *speakers) among(list, all []NodeWeight, entries []int) []NodeWeight {
	if slices.ContainsFunc(entries, func(i int) bool { return b.entries[i].everywhere }) {
		return list
	}
	if len(list) == 0 || &list[0] != &all[0] {
		return b.filter(list, entries)
	}
	var key []byte
	for _, i := range entries {
		key = binary.AppendUvarint(key, uint64(i))
	}
	k := shared{&list[0], string(key)}
	out, ok := b.cache[k]
	if !ok {
		out = b.filter(list, entries)
		b.cache[k] = out
	}
	return out
}

func (b *speakers) filter(list []NodeWeight, entries []int) []NodeWeight {
	var out []NodeWeight
	for _, n := range list {
		if slices.ContainsFunc(entries, func(i int) bool { return b.entries[i].nodes[n.Node] }) {
			out = append(out, n)
		}
	}
	return out
}

// speaks tells whether this node has a session that gets the address.
func (a asked) speaks() bool {
	return a.pool != nil && a.pool.BGP && slices.ContainsFunc(a.entries, func(i int) bool { return len(a.bgp.entries[i].sessions) > 0 })
}

// silent is why this node announces to nobody what it could announce by BGP.
func (a asked) silent() (Reason, string) {
	switch {
	case len(a.in.Config.Peers) == 0:
		return NoPeer, ""
	case len(a.bgp.names) > 0 && len(a.entries) == 0:
		return NotAdvertised, "no advertisement selects it"
	case len(a.bgp.names) > 0:
		return NotAdvertised, "the advertisements that select it are for other nodes, or for none of " + strings.Join(firsts(a.bgp.names), ", ")
	case len(a.bgp.refused) > 0:
		var why []string
		for _, r := range a.bgp.refused {
			why = append(why, r.Name+": "+r.Problem)
		}
		return NoPeer, strings.Join(firsts(why), "; ")
	default:
		return NoPeer, "no peer's nodeSelector selects this node"
	}
}
