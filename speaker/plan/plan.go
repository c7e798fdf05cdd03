// Package plan decides everything that one node must announce, and why.
//
// Turn is pure: it knows no clock, no log and no network, and the order of its
// input is irrelevant. A missed event is therefore repaired by the next table.
// Compute is the part of it that needs no memory, and explain is that run again.
package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Input is all that a decision may depend on.
type Input struct {
	Self    string         // name of this node
	Config  *config.Config // nil: none accepted yet; nothing is announced
	Cluster cluster.Snapshot

	// Alive are the nodes that the gossip knows to be alive; only they own
	// addresses at layer 2. nil: there is none to ask, so the API is trusted.
	Alive map[string]bool
	// NoLayer2: the speakers have no gossip, and so no layer 2.
	NoLayer2 bool
	// Links are this node's links that can carry an address at layer 2, sorted.
	// The patterns are those of a pool. nil: they are not known, so it is assumed
	// that there is one.
	Links func(addr netip.Addr, include, exclude []string) []string

	// Gateways are the next hops of this node's default routes, by family. nil: it
	// has none.
	Gateways map[cluster.Family]netip.Addr
	// Forwarding tells whether this node forwards what comes for an address. It is
	// asked only of what would be announced otherwise, and only if
	// nodes.forwardingGate wants so. nil: it is assumed.
	Forwarding func(service string, addr netip.Addr) Forwarded
	// Announced tells whether this node announces an address already, for the Service
	// or for another one. It is asked only where Services share one, and Forwarding
	// speaks against one of them. nil: it does not.
	Announced func(service string, addr netip.Addr) bool
	// Able tells whether another node's kube-proxy is known to be well. It is asked
	// only where this node's rules are outdated. nil: it is assumed.
	Able func(node string) bool
	// Leaving: this speaker was told to leave; all its routes drain.
	Leaving bool
	// NotRescuing are the nodes that say that they do not answer what Table.Rescue
	// has others ask: their kube-proxy would reset the connection instead. Remember
	// takes any other node to answer. For Decision.Quick it must be Alive, too.
	NotRescuing map[string]bool
}

// Forwarded is whether this node forwards what comes for one Service.
type Forwarded struct {
	OK       bool
	Outdated bool   // OK, but some of it ends at endpoints that are gone, and will go on doing so
	Kept     bool   // an earlier speaker on the same boot announced it
	Why      string // not OK, or Outdated
}

// Table is the whole truth about one node: what is not in it is withdrawn. The
// zero value announces nothing. All slices are sorted.
type Table struct {
	Self     string     // name of this node
	ASN      uint32     // ours
	RouterID netip.Addr // IPv4; invalid: no BGP
	NextHops NextHops
	// ListenPort is where passive sessions wait for their peers; 0: 179. Without
	// a passive session nothing listens.
	ListenPort uint16
	Sessions   []Session
	Refused    []RefusedPeer // configured for this node, but not possible on it
	AddPaths   []AddPath     // of the sessions with EncodeAddPath
	Routes     []Route
	Claims     []Claim
	Rescue     Rescue // empty until RescueMemory.Remember fills it in
	Decisions  []Decision

	Next time.Time // when time alone makes another table; zero: never. Turn sets it
}

// Same tells whether two tables announce the same, whatever the Decisions say of
// it.
func (t Table) Same(o Table) bool {
	return t.Self == o.Self && t.ASN == o.ASN && t.RouterID == o.RouterID && t.NextHops == o.NextHops && t.ListenPort == o.ListenPort &&
		slices.Equal(t.Sessions, o.Sessions) && slices.Equal(t.Refused, o.Refused) &&
		slices.EqualFunc(t.AddPaths, o.AddPaths, AddPath.equal) &&
		slices.EqualFunc(t.Routes, o.Routes, Route.equal) &&
		slices.EqualFunc(t.Claims, o.Claims, Claim.equal) &&
		t.Rescue.equal(o.Rescue)
}

// RefusedPeer is a peer that the configuration wants on this node, and why there
// is no session with it.
type RefusedPeer struct{ Name, Problem string }

// NextHops are this node's own addresses. A session announces prefixes of its
// own family with its own source address; prefixes of the other family need one
// of these.
type NextHops struct{ IPv4, IPv6 netip.Addr }

// Session is a BGP session that this node keeps up. It is comparable.
type Session struct {
	Name      string
	Address   netip.Addr   // invalid: Range, or Interface alone
	Range     netip.Prefix // of a passive session: whoever connects from there
	Interface string       // bound to; without Address: unnumbered

	ASN      uint32 // 0: any AS but ours
	LocalASN uint32 // 0: Table.ASN
	Internal bool   // iBGP

	Port             uint16
	Passive          bool
	Source           netip.Addr // invalid: what the routing table says
	EBGPMultihop     uint8      // TTL; 0: 1 for eBGP
	TTLSecurity      uint8      // hops; 0: off
	PasswordKey      string     // empty: no password
	HoldTime         time.Duration
	KeepaliveTime    time.Duration
	ConnectRetryTime time.Duration
	RestartTime      time.Duration // 0: no graceful restart
	BFD              BFD           // zero: none

	Weights       config.Encodings
	LinkBandwidth config.LinkBandwidthForm
	Community     config.CommunityWeights
	Paths         uint8 // with EncodeAddPath: the most paths of a prefix; else 0
}

// BFD are the parameters of a BFD session. The zero value means none.
type BFD struct {
	ReceiveInterval, TransmitInterval time.Duration
	DetectMultiplier                  uint8
	Strict                            bool // no session before BFD is Up
}

// Route is a prefix that is announced to one peer.
type Route struct {
	Peer   string
	Prefix netip.Prefix
	Weight uint32 // at least 1
	// Pods: the prefix is one of the Node's spec.podCIDRs, and no Service's. It has no
	// weight to speak of.
	Pods bool
	// Draining routes are announced with GRACEFUL_SHUTDOWN (RFC 8326), and with
	// LOCAL_PREF 0 over iBGP, so that routers turn to others before they go.
	Draining bool
	// NextHops are those of the paths, with EncodeAddPath; else empty.
	NextHops []netip.Addr
	// Attributes are shared between routes: do not change them. nil: none.
	Attributes *config.Attributes
}

func (r Route) equal(o Route) bool {
	return r.Peer == o.Peer && r.Prefix == o.Prefix && r.Weight == o.Weight && r.Pods == o.Pods && r.Draining == o.Draining &&
		slices.Equal(r.NextHops, o.NextHops) &&
		r.Attributes.Equal(o.Attributes)
}

// Claim is an address that this node owns at layer 2: it answers ARP or NDP for
// it on the links named.
type Claim struct {
	Addr  netip.Addr
	Links []string // interface names, sorted; at least one, unless Input.Links is nil
}

func (c Claim) equal(o Claim) bool { return c.Addr == o.Addr && slices.Equal(c.Links, o.Links) }

// Decision is what was decided about one address of one Service on this node.
type Decision struct {
	Service  string     // namespace/name
	Addr     netip.Addr // invalid: the Service has none
	Pool     string     // empty: in no pool
	Announce bool       // by BGP
	Draining bool       // with GRACEFUL_SHUTDOWN, and not for long; Announce is true then
	Claim    bool       // at layer 2
	Owner    string     // at layer 2, whichever node it is; empty: none
	Layer2   Reason     // why this node answers at layer 2, or does not; empty: that was not asked
	Reason   Reason
	Detail   string // what a person needs beside the Reason; may be empty
	Weight   uint32 // this node's, exact; 0 unless it announces. Damp may hold the announced one back.
	// Nodes are all that announce the address, sorted by name, as far as every node
	// can tell: one that drains is not among them, one that does not forward yet is.
	// Of an address that only layer 2 announces it is the owner.
	Nodes []NodeWeight
	// Quick: routers may move every flow to the address without breaking one, so its
	// weights follow within quickly. Else Slow says why they do not; empty: they cannot
	// change.
	Quick bool
	Slow  string
}

// NodeWeight is the weight that a node has for an address.
type NodeWeight struct {
	Node   string
	Weight uint32
}

// Compute returns everything that the node in.Self must announce.
func Compute(in Input) Table {
	if in.Config == nil {
		return Table{}
	}
	nodes := nodesOf(in.Cluster.Nodes, in.Config.Nodes)
	pools := selected(nodes, in.Config, in.Alive)
	t := newTable(in, nodes.byName[in.Self])
	bgp := speakersOf(in, t.Sessions, t.Refused)
	byAddr, waiting := sharers(in.Cluster.Services)
	t.Decisions = waiting
	var out []outgoing
	for addr, services := range byAddr {
		a := asked{in: in, nodes: nodes, bgp: bgp, pool: in.Config.PoolOf(addr), addr: addr, family: cluster.FamilyOf(addr)}
		if a.pool != nil {
			a.nodes = pools[a.pool.Name]
		}
		o := a.decide(services)
		t.Decisions = append(t.Decisions, o.decisions...)
		if o.claim != nil {
			t.Claims = append(t.Claims, *o.claim)
		}
		if o.out != nil {
			out = append(out, *o.out)
		}
	}
	slices.SortFunc(t.Decisions, compareDecisions)
	slices.SortFunc(t.Claims, func(a, b Claim) int { return a.Addr.Compare(b.Addr) })
	t.Routes = routes(out, bgp.entries, in.podCIDRs(nodes), t.replicate)
	return t
}

// newTable is a table that announces nothing yet.
func newTable(in Input, self cluster.Node) Table {
	asn, id := common(in.Config, self)
	t := Table{
		Self: in.Self, ASN: asn, RouterID: id, ListenPort: in.Config.BGP.ListenPort,
		NextHops: NextHops{IPv4: self.Addr(cluster.IPv4), IPv6: self.Addr(cluster.IPv6)},
	}
	t.Sessions, t.Refused = sessionsOf(in.Config, self, ownGateways(in.Gateways))
	t.AddPaths = addPathsOf(in.Config, self, t.Sessions)
	return t
}

// sharers groups the Services by address. A Service that waits for an address
// gets its decision here.
func sharers(services []cluster.Service) (map[netip.Addr][]cluster.Service, []Decision) {
	byAddr := make(map[netip.Addr][]cluster.Service, len(services))
	var waiting []Decision
	for _, s := range services {
		if !s.Ours() || s.Deleting {
			continue
		}
		for _, a := range s.Ingress {
			byAddr[a] = append(byAddr[a], s)
		}
		if len(s.Ingress) == 0 {
			waiting = append(waiting, Decision{Service: s.Key(), Reason: NoAddress, Detail: s.Condition.Message})
		}
	}
	for _, s := range byAddr {
		slices.SortFunc(s, func(a, b cluster.Service) int { return cmp.Compare(a.Key(), b.Key()) })
	}
	return byAddr, waiting
}
