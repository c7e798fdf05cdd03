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
	Peers []Peer // in the order of the file; names are unique
	BGP   BGP
	Nodes Nodes

	Scope Scope // which Services are Herald's

	// ReleaseRemoved: a Service whose address is in no pool any more gets another.
	// Default false: it keeps the address, which the allocator retires in the
	// configuration that it publishes.
	ReleaseRemoved bool

	Advertisements []Advertisement // in the order of the file
	BFDProfiles    []BFDProfile    // names are unique; "default" is there even if the file lacks it
}

// Nodes is what all nodes have in common.
type Nodes struct {
	CordonedLeave bool // default false; true: a cordoned node announces nothing

	// DrainTaint and DrainAnnotation are keys; a node that carries one of them
	// drains: its routes get GRACEFUL_SHUTDOWN (RFC 8326), and go after DrainTime.
	DrainTaint      string        // default heraldlb.io/drain
	DrainAnnotation string        // default heraldlb.io/drain; any value but "false" counts
	DrainTime       time.Duration // default 5 s; 0: withdraw at once

	// ForwardingGate keeps an address unannounced until kube-proxy on this node
	// has its rules. Default true.
	ForwardingGate bool

	// Fuse holds a withdrawal of most addresses back that nothing explains.
	Fuse Fuse

	// StateMaxAge is how old the state may be from which a speaker starts while
	// the API server is away. Default 24 h; 0: it starts from none.
	StateMaxAge time.Duration
}

// Fuse bounds what one change of the cluster may withdraw.
type Fuse struct {
	Percent  int           // of the announced addresses that may lose all their nodes at once; default 50; 100: no fuse
	HoldTime time.Duration // how long more than that is held back; default 30 s
}

// Pool is a set of addresses that the allocator hands out.
type Pool struct {
	Name   string
	Ranges []Range // may be empty only beside Retired; IPv4 before IPv6, ascending; no two overlap, also across pools

	// Reserved addresses are only for Services that ask for that very address.
	Reserved []Range // ascending, without overlaps; each within one of Ranges

	// Retired addresses are not handed out any more. Services that have one keep it.
	Retired []Range // like Ranges, and none overlaps those

	AutoAssign    bool // default true; false: only Services that ask for it by name or address
	AvoidBuggyIPs bool // default false; true: .0 and .255 of IPv4 are not handed out
	Priority      int  // default 0; pools with a higher number are tried first

	// Quarantine is for how long an address that nobody has any more is handed out only
	// if no other is free. Default 5 min; 0: none.
	Quarantine time.Duration

	// Namespaces, by name or by label: one of the two is enough. Both empty: every one.
	Namespaces        []string
	NamespaceSelector Selector
	ServiceSelector   Selector // empty: every Service

	SharingAcross bool // default false; true: Services of different namespaces may share an address

	Weights bool // default true; false: every node announces weight 1
	// FlowRescue: a TCP connection that reaches another node than it began on is led
	// back to that. Default true; only with BGP, and where the speakers can.
	FlowRescue bool

	BGP bool // default true
	L2  bool // default false; true: one node answers ARP and NDP for an address. At least one of the two is set.

	Interfaces        []string // only with L2; names, with * and ?; empty: every link whose subnet has the address
	ExcludeInterfaces []string // only with L2; wins over Interfaces
	NodeSelector      Selector // of the nodes that announce; empty: every node
}

// Contains tells whether an address belongs to the pool.
func (p Pool) Contains(a netip.Addr) bool { return anyContains(p.Ranges, a) || p.IsRetired(a) }

// IsRetired tells whether an address of the pool is not handed out any more.
func (p Pool) IsRetired(a netip.Addr) bool { return anyContains(p.Retired, a) }

func anyContains(ranges []Range, a netip.Addr) bool {
	for _, r := range ranges {
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

// Shares is an address that a pool has in common with a prefix, if there is one.
func (c *Config) Shares(p netip.Prefix) (netip.Addr, bool) {
	block := prefixRange(p.Masked())
	for i := range c.Pools {
		for _, r := range c.Pools[i].Ranges {
			if r.overlaps(block) && r.From.Compare(block.From) > 0 {
				return r.From, true
			} else if r.overlaps(block) {
				return block.From, true
			}
		}
	}
	return netip.Addr{}, false
}

// Range is an inclusive range of addresses of one family.
type Range struct{ From, To netip.Addr }

// Contains tells whether a is within the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.From.BitLen() && r.From.Compare(a) <= 0 && a.Compare(r.To) <= 0
}

// Family is the family of the range's addresses.
func (r Range) Family() cluster.Family { return cluster.FamilyOf(r.From) }

// Peer is a BGP neighbour of the nodes that NodeSelector selects.
type Peer struct {
	Name         string
	NodeSelector Selector // empty: every node

	// Exactly one of the four says who the neighbour is. Interface alone means
	// an unnumbered session (RFC 8950) with the one router on that link.
	Address      netip.Addr
	AddressFrom  From         // differs from node to node
	AddressRange netip.Prefix // whoever connects from there; such a peer is always passive
	Interface    string       // binds the session to this link; required for a link-local Address

	ASN      uint32 // the peer's; equal to BGP.ASN: iBGP. 0: External or ASNFrom
	External bool   // any AS but ours
	ASNFrom  From
	LocalASN uint32 // ours towards this peer; 0: BGP.ASN

	Port              uint16        // default 179
	Passive           bool          // waits for the peer to connect, on BGP.ListenPort
	SourceAddress     netip.Addr    // invalid: what the routing table says
	SourceAddressFrom From          //
	EBGPMultihop      uint8         // TTL of the packets; 0: 1 for eBGP
	TTLSecurity       uint8         // hops at most to the peer (GTSM, RFC 5082); 0: off
	PasswordKey       string        // of the Secret herald-bgp: TCP MD5 (RFC 2385); empty: none
	HoldTime          time.Duration // default 90 s (RFC 4271 section 10); whole seconds, 3 s and up: gobgp cannot do without
	KeepaliveTime     time.Duration // default a third of HoldTime
	ConnectRetryTime  time.Duration // default 2 s, the least that gobgp takes; RFC 4271 suggests 120 s, far too slow for a rack
	RestartTime       time.Duration // of graceful restart (RFC 4724); default 30 s; 0: no graceful restart
	BFDProfile        string        // empty: no BFD; "default" is always there

	Weights       Encodings          // default EncodeLinkBandwidth and EncodeCommunity
	LinkBandwidth LinkBandwidthForm  // with EncodeLinkBandwidth; default Both
	Community     CommunityWeights   // with EncodeCommunity; default LocalASN or BGP.ASN, and 10000
	AddPath       AddPathReplication // with EncodeAddPath

	// Overrides change the peer on some nodes. Each is a whole Peer with the
	// changes made; the first whose NodeSelector selects the node counts.
	Overrides []Peer
}

// From is a value that is looked up on each node. The zero value is none. Only
// one field is set.
type From struct {
	DefaultGateway cluster.Family // the next hop of the node's default route of this family
	NodeAnnotation string         // its key
	NodeLabel      string         // its key
}

// IsZero tells that the value is not looked up.
func (f From) IsZero() bool { return f == From{} }

// Encodings are the ways in which a peer learns weights. EncodeNone and
// EncodeAddPath go with no other.
type Encodings uint8

// The encodings.
const (
	EncodeLinkBandwidth Encodings = 1 << iota // RFC 10005; FRR and most vendors
	EncodeCommunity                           // a standard community that an import filter reads; BIRD
	EncodeAddPath                             // one path per unit of weight (RFC 7911); any ECMP router with ADD-PATH
	EncodeNone
)

// CommunityWeights says which communities carry weights: ASN:Base+1 to ASN:Base+256.
type CommunityWeights struct {
	ASN  uint16
	Base uint16 // at most 65279
}

// AddPathReplication says how weights become paths.
type AddPathReplication struct {
	// Prefixes turn a node's address into its aliases: the leading bits are the
	// prefix's, the rest the node's. A node with weight n announces n next hops,
	// its own address and n-1 aliases.
	Prefixes []netip.Prefix
	// Width is how many next hops the router installs for a prefix. Default 64.
	Width int
}

// BFDProfile says how fast BFD (RFC 5880) finds a dead path.
type BFDProfile struct {
	Name             string
	ReceiveInterval  time.Duration // default 300 ms
	TransmitInterval time.Duration // default 300 ms
	DetectMultiplier uint8         // default 3
	Strict           bool          // no session before BFD is Up; default false
}

// Advertisement says how the addresses of some pools are announced to some peers
// from some nodes. Without any Advertisement all addresses are announced to all
// peers; with one, only what an Advertisement selects. Of those that yield the
// same prefix for the same peer the first counts.
type Advertisement struct {
	Pools           []string // empty: every pool
	Peers           []string // empty: every peer
	NodeSelector    Selector
	ServiceSelector Selector
	Namespaces      []string // empty: every namespace

	// PodCIDRs: each node announces its Node's spec.podCIDRs as well.
	PodCIDRs bool // default false

	// AggregationLength and AggregationLengthV6 make one prefix of the addresses
	// within it; 32 and 128, the defaults, announce each address. Addresses of
	// Services with externalTrafficPolicy Local are always announced one by one:
	// an aggregate would draw their traffic to nodes without endpoints.
	AggregationLength   int
	AggregationLengthV6 int

	Attributes
}

// Attributes are path attributes of BGP. The zero value adds none.
type Attributes struct {
	Communities      []uint32         // RFC 1997, also the well-known ones; sorted
	LargeCommunities []LargeCommunity // RFC 8092; sorted
	LocalPref        *uint32          // iBGP only; nil: 100
	MED              *uint32
	Prepend          int // how often our AS is put in front once more; eBGP only
}

// LargeCommunity is a community of RFC 8092.
type LargeCommunity struct{ GlobalAdmin, LocalData1, LocalData2 uint32 }

// BGPOverride changes what all sessions of some nodes have in common. The first
// that selects a node counts.
type BGPOverride struct {
	NodeSelector Selector
	ASN          uint32     // 0: BGP.ASN
	RouterID     netip.Addr // invalid: the node's first IPv4 address, or a hash of its name
}

// LinkBandwidthForm is the form of the community of RFC 10005 that a peer gets.
type LinkBandwidthForm string

// Routers differ in the form that they read: see docs/routers.md.
const (
	Both          LinkBandwidthForm = "both"          // one of each, with equal values
	NonTransitive LinkBandwidthForm = "nonTransitive" // type 0x40, sub-type 0x04
	Transitive    LinkBandwidthForm = "transitive"    // type 0x00, sub-type 0x04
)

// BGP is what all sessions of a node have in common.
type BGP struct {
	ASN     uint32 // ours; required as soon as there is a peer
	Weights Weights

	ListenPort uint16        // for passive peers; default 179; nothing listens without one
	Overrides  []BGPOverride // in the order of the file
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
