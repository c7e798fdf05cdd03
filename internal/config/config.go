// Package config is Herald's configuration: what users write into the ConfigMap
// herald, and what the allocator publishes of it once it is valid.
//
// It is pure: no clock, no file, no log. Parse reports every fault at once,
// each with the path of its field and what to write instead.
package config

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// APIVersion is the one version that Parse reads.
const APIVersion = "heraldlb.io/v1"

// Config is a valid configuration with all defaults filled in. Holders must not
// change it.
type Config struct {
	Pools []Pool // in the order of the file; names are unique
	Peers []Peer // in the order of the file; names and addresses are unique
	BGP   BGP
	Nodes Nodes
}

// Nodes is what all nodes have in common.
type Nodes struct {
	CordonedLeave bool // default false; true: a cordoned node announces nothing
}

// Pool is a set of addresses that the allocator hands out.
type Pool struct {
	Name   string
	Ranges []Range // IPv4 before IPv6, ascending; no two overlap, also across pools

	AutoAssign    bool // default true; false: only Services that ask for it by name or address
	AvoidBuggyIPs bool // default false; true: .0 and .255 of IPv4 are not handed out
	Priority      int  // default 0; pools with a higher number are tried first

	Namespaces      []string // empty: every namespace
	ServiceSelector Selector // empty: every Service

	Weights bool // default true; false: every node announces weight 1

	BGP bool // default true
	L2  bool // default false; true: one node answers ARP and NDP for an address. At least one of the two is set.

	Interfaces        []string // only with L2; names, with * and ?; empty: every link whose subnet has the address
	ExcludeInterfaces []string // only with L2; wins over Interfaces
	NodeSelector      Selector // of the nodes that announce; empty: every node
}

// Contains tells whether an address belongs to the pool.
func (p Pool) Contains(a netip.Addr) bool {
	for _, r := range p.Ranges {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

// PoolOf is the pool that an address belongs to, or nil. It is the one answer to
// this question; allocator and speaker both ask here.
func (c *Config) PoolOf(a netip.Addr) *Pool {
	for i := range c.Pools {
		if c.Pools[i].Contains(a) {
			return &c.Pools[i]
		}
	}
	return nil
}

// Range is an inclusive range of addresses of one family.
type Range struct{ From, To netip.Addr }

// Contains tells whether a is within the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.From.BitLen() && r.From.Compare(a) <= 0 && a.Compare(r.To) <= 0
}

// Family is the family of the range's addresses.
func (r Range) Family() cluster.Family { return cluster.FamilyOf(r.From) }

// Peer is a BGP neighbour of every node.
type Peer struct {
	Name             string
	Address          netip.Addr
	Port             uint16        // default 179
	ASN              uint32        // the peer's; equal to BGP.ASN: iBGP
	HoldTime         time.Duration // default 90 s (RFC 4271 section 10); whole seconds, 3 s and up: gobgp cannot do without
	KeepaliveTime    time.Duration // default a third of HoldTime
	ConnectRetryTime time.Duration // default 5 s; RFC 4271 suggests 120 s, far too slow for a rack; gobgp takes less than 2 s for 2 s
	LinkBandwidth    LinkBandwidth // default NonTransitive
}

// LinkBandwidth is the form of the community of RFC 10005 that a peer gets.
type LinkBandwidth string

// Routers differ in the form that they read: see docs/configuration.md.
const (
	NonTransitive LinkBandwidth = "nonTransitive" // type 0x40, sub-type 0x04
	Transitive    LinkBandwidth = "transitive"    // type 0x00, sub-type 0x04
)

// BGP is what all sessions of a node have in common.
type BGP struct {
	ASN     uint32 // ours; required as soon as there is a peer
	Weights Weights
}

// Weights says how changes of weight alone are damped, because each may make a
// router rehash every established flow. First and last endpoint of a node are
// never held back.
type Weights struct {
	// Interval is the least time between two changes of weight of one address,
	// and the wall-clock tick that all nodes share. Default 5m; 0: at once.
	Interval time.Duration
	// MinChange is the least relative change of a node's share, in percent, that
	// is worth a rehash. Default 25; 0: any.
	MinChange int
	// DecreaseDelay is how long a decrease must last before it counts, so that a
	// restarting pod is no change. Default 2m.
	DecreaseDelay time.Duration
	// SettleTime is how long after its first announcement an address is free of
	// damping, since it has few flows to lose yet. Default 30s.
	SettleTime time.Duration
}

// Selector is a label selector of the Kubernetes API. The zero value selects
// everything.
type Selector struct {
	MatchLabels      map[string]string
	MatchExpressions []Requirement
}

// Requirement is one of a Selector's matchExpressions.
type Requirement struct {
	Key      string
	Operator string // In, NotIn, Exists or DoesNotExist
	Values   []string
}
