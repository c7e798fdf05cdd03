// Package plan decides everything that one node must announce, and why.
//
// Compute is pure: it knows no clock, no log and no network, and the order of
// its input is irrelevant. A missed event is therefore repaired by the next
// table, and explain is Compute run again.
package plan

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Input is all that a decision may depend on.
type Input struct {
	Self    string         // name of this node
	Config  *config.Config // nil: none accepted yet; nothing is announced
	Cluster cluster.Snapshot
}

// Table is the whole truth about one node: what is not in it is withdrawn. The
// zero value announces nothing. All slices are sorted.
type Table struct {
	ASN       uint32     // ours
	RouterID  netip.Addr // IPv4; invalid: no BGP
	NextHops  NextHops
	Sessions  []Session
	Routes    []Route
	Decisions []Decision
}

// NextHops are this node's own addresses. A session announces prefixes of its
// own family with its own source address; prefixes of the other family need one
// of these.
type NextHops struct{ IPv4, IPv6 netip.Addr }

// Session is a BGP session that this node keeps up.
type Session struct {
	Name             string
	Address          netip.Addr
	Port             uint16
	ASN              uint32
	HoldTime         time.Duration
	KeepaliveTime    time.Duration
	ConnectRetryTime time.Duration
	LinkBandwidth    config.LinkBandwidth
}

// Route is a prefix that is announced to one peer.
type Route struct {
	Peer   string
	Prefix netip.Prefix
	Weight uint32 // of the link bandwidth community; at least 1
}

// Decision is what was decided about one address of one Service on this node.
type Decision struct {
	Service  string     // namespace/name
	Addr     netip.Addr // invalid: the Service has none
	Pool     string     // empty: in no pool
	Announce bool
	Reason   Reason
	Detail   string       // what a person needs beside the Reason; may be empty
	Weight   uint32       // this node's; 0 unless Announce
	Nodes    []NodeWeight // every node that announces the address, sorted by name
}

// NodeWeight is the weight that a node has for an address.
type NodeWeight struct {
	Node   string
	Weight uint32
}
