package dataplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// How long things are remembered, and how much of it.
const (
	// A question that nobody answers is asked again for a while, in which a client
	// sends three times (at 0, 0.2 and 0.6 s). Then, at 1.4 s, the packet goes
	// where it would have gone without us, where it is reset.
	askingFor = 700 * time.Millisecond
	askedFor  = 10 * time.Second
	// An owner claims again while packets reach it, so that its death is noticed:
	// by 0.6 s its claim is old, and it is asked until before 1.4 s as well.
	freshFor   = 500 * time.Millisecond
	claimEvery = 400 * time.Millisecond
	// All answers to a question arrive within milliseconds.
	denialFor = time.Second
	// A connection that was silent for longer is sought among all peers again.
	ownerFor = time.Minute
	// So many questions a second may be asked for strangers, and for neighbours of
	// clients of whom something was claimed lately: a flood from invented addresses
	// does not use up the latter. The sum is less than flowSize divided by askedFor,
	// so that bogus packets cannot fill the set of what was asked.
	askLimit    = 4000
	clientLimit = 1500
	clientFor   = 30 * time.Minute
	flowSize    = 65536
)

// table is one of our two, as data.
type table struct {
	family
	name   string
	sets   []set
	chains []chain
}

// counters are those of a table.
var counters = []string{"asked", "claimed", "directed", "given-up", "limited"}

type set struct {
	name     string
	key      nftables.SetDatatype
	concat   bool
	data     nftables.SetDatatype // of a map
	timeout  time.Duration        // not zero: packets fill it
	size     uint32               // of one that packets fill
	counter  bool                 // each element counts the packets that it matches
	elements []element
}

type element struct {
	text  string
	key   []byte
	chain string // not empty: of a map, where to go
}

func (s set) dynamic() bool { return s.timeout != 0 }
func (s set) isMap() bool   { return s.data.Name != "" }

type chain struct {
	name  string
	hook  *nftables.ChainHook // nil: none
	first bool                // it sees the first packet of a connection alone, and is no filter
	rules []rule
}

type rule struct {
	words   []word
	comment string
}

func (c *chain) add(words ...word) { c.rules = append(c.rules, rule{words: words}) }

func (c *chain) addFor(comment string, words ...word) {
	// The kernel takes 128 bytes; a node's name may have 253.
	c.rules = append(c.rules, rule{words: words, comment: comment[:min(len(comment), 120)]})
}

// tableName is that of ours, in both families.
const tableName = "herald"

// tables are what the spec comes to: a family that nobody needs has none, since a
// rule about ct makes the kernel track that family's connections. Links that are
// not there are left out with their peers.
func (s RescueSpec) tables(links map[string]int) []table {
	var out []table
	for _, f := range []family{family4, family6} {
		if len(s.services(f.v6)) > 0 || len(s.tunnels(f.v6)) > 0 {
			out = append(out, s.table(f, links))
		}
	}
	return out
}

func (s RescueSpec) table(f family, links map[string]int) table {
	t := table{family: f, name: tableName}
	if tunnels := s.tunnels(f.v6); len(tunnels) > 0 {
		t.sets = append(t.sets, set{name: "tunnels", key: f.addr, elements: addressElements(tunnels)})
		in := chain{name: "in", hook: nftables.ChainHookInput}
		in.add(protocol(unix.IPPROTO_UDP), f.isStrayTunnel(s.Overlay.Port), drop())
		t.chains = append(t.chains, in)
	}
	services := s.services(f.v6)
	if len(services) == 0 {
		return t
	}
	peers := s.usable(f.v6, links)
	t.sets = append(t.sets, f.fixedSets(services, peers)...)
	t.sets = append(t.sets, f.flowSets()...)
	owners := owners(peers)
	for _, link := range owners {
		t.sets = append(t.sets, set{name: ownerSet(link), key: f.flow(), concat: true, data: f.addr, timeout: ownerFor, size: flowSize})
	}
	t.chains = append(t.chains, f.pre(s.Overlay.Link, len(peers) > 0), f.out(s.mark()))
	if s.Overlay.Link != "" {
		t.chains = append(t.chains, f.tunnel())
	}
	t.chains = append(t.chains, f.flows(owners, links), f.errors(), f.ask(peers, links), f.denied(peers))
	for _, p := range peers {
		t.chains = append(t.chains, f.peer(p, links[p.Link], s.mark()))
	}
	return t
}

// owners are the links that have peers: a copy needs a constant link, so each has
// a map of its own.
func owners(peers []RescuePeer) []string {
	var out []string
	for _, p := range peers {
		out = append(out, p.Link)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ownerSet names a link's map, also if the link's name is none for nft.
func ownerSet(link string) string {
	var b strings.Builder
	b.WriteString("owner-")
	for _, c := range []byte(link) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// fixedSets are those that the spec fills.
func (f family) fixedSets(services []RescueService, peers []RescuePeer) []set {
	vips := set{name: "vips", key: nftables.MustConcatSetType(f.addr, nftables.TypeInetService), concat: true}
	var addrs []netip.Addr
	for _, r := range services {
		key := binary.BigEndian.AppendUint16(r.Addr.AsSlice(), r.Port)
		vips.elements = append(vips.elements, element{text: fmt.Sprintf("%s . %d", r.Addr, r.Port), key: append(key, 0, 0)})
		addrs = append(addrs, r.Addr)
	}
	macs := set{name: "macs", key: nftables.TypeEtherAddr}
	chains := set{name: "peers", key: nftables.TypeEtherAddr, data: nftables.TypeVerdict}
	for _, p := range slices.SortedFunc(slices.Values(peers), func(a, b RescuePeer) int { return slices.Compare(a.MAC, b.MAC) }) {
		macs.elements = append(macs.elements, element{text: p.MAC.String(), key: p.MAC})
		chains.elements = append(chains.elements, element{text: p.MAC.String() + " : goto " + p.chain(), key: p.MAC, chain: p.chain()})
	}
	errors := set{name: "errors", key: f.icmpType}
	for _, n := range f.icmpErrors {
		errors.elements = append(errors.elements, element{text: icmpNames[f.v6][n], key: []byte{n}})
	}
	return []set{vips, {name: "addresses", key: f.addr, elements: addressElements(slices.Compact(addrs))}, macs, chains, errors}
}

var icmpNames = map[bool]map[byte]string{
	false: {3: "destination-unreachable", 11: "time-exceeded", 12: "parameter-problem"},
	true:  {1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem"},
}

func addressElements(addrs []netip.Addr) []element {
	var out []element
	for _, a := range addrs {
		out = append(out, element{text: a.String(), key: a.AsSlice()})
	}
	return out
}

// flowSets are those that packets fill: what has been asked for, and how long ago;
// whose owner has claimed it lately; for whom this node has claimed what; whose it
// is not, by whose word, and how many have said so.
func (f family) flowSets() []set {
	return []set{
		{name: "asked", key: f.flow(), concat: true, timeout: askedFor, size: flowSize},
		{name: "asking", key: f.flow(), concat: true, timeout: askingFor, size: flowSize},
		{name: "fresh", key: f.flow(), concat: true, timeout: freshFor, size: flowSize},
		{name: "claimed", key: f.flowAndMAC(), concat: true, timeout: claimEvery, size: flowSize},
		{name: "clients", key: f.addr, timeout: clientFor, size: flowSize}, // of whom something was claimed
		{name: "denied", key: f.flowAndMAC(), concat: true, timeout: denialFor, size: flowSize},
		{name: "denials", key: f.flow(), concat: true, timeout: denialFor, size: flowSize},
	}
}

// pre sees each packet after conntrack and before kube-proxy. Without a peer to ask
// it leaves all as it is.
func (f family) pre(overlay string, peers bool) chain {
	c := chain{name: "pre", hook: nftables.ChainHookPrerouting}
	if overlay != "" {
		c.add(fromLink(overlay), gotoChain("tunnel"))
	}
	if peers {
		c.add(tcp(), f.isService(), gotoChain("incoming"))
		c.add(protocol(f.icmpProto), f.isError(), f.isAddress(), gotoChain("error"))
	}
	return c
}

// tunnel lets nothing but peers' copies out of the overlay, which anybody could
// fill who can send to its port.
func (f family) tunnel() chain {
	c := chain{name: "tunnel"}
	c.add(tcp(), f.isService(), onEthernet(), byPeer())
	c.add(protocol(f.icmpProto), f.isError(), f.isAddress(), onEthernet(), isPeer(), isKnown(), acceptPacket())
	c.add(drop())
	return c
}

// flows decides over a packet for a service. Who asks for a flow drops the packet,
// so that conntrack does not take it for one of this node.
func (f family) flows(owners []string, links map[string]int) chain {
	c := chain{name: "incoming"}
	c.add(tcp(), isOpening(), acceptPacket())
	c.add(onEthernet(), byPeer())
	c.add(isKnown(), acceptPacket())
	for _, link := range owners {
		c.add(tcp(), f.in("fresh", false), f.copyToOwner(ownerSet(link), link, links[link]), count("directed"), drop())
	}
	c.add(tcp(), f.in("asked", false), f.in("asking", true), count("given-up"), acceptPacket())
	// The owner was silent, as was the connection: ask it alone.
	for _, link := range owners {
		c.add(tcp(), f.copyToOwner(ownerSet(link), link, links[link]), f.change("add", "asked"), f.change("add", "asking"), count("directed"), drop())
	}
	c.add(gotoChain("ask"))
	return c
}

// errors has a peer's copy pass where conntrack knows what it is about, and asks
// the peers about others.
func (f family) errors() chain {
	c := chain{name: "error"}
	c.add(isKnown(), acceptPacket())
	c.add(onEthernet(), isPeer(), drop())
	c.add(gotoChain("ask"))
	return c
}

// ask sends a copy to every peer that may know the flow. One that does not says so
// and never passes it on, so there are no loops.
func (f family) ask(peers []RescuePeer, links map[string]int) chain {
	c := chain{name: "ask"}
	awaited := awaited(peers)
	peers = slices.DeleteFunc(slices.Clone(peers), func(p RescuePeer) bool { return !p.Ask })
	if len(peers) == 0 {
		c.add(acceptPacket())
		return c
	}
	c.add(f.isClient(false), limitOver(askLimit), count("limited"), drop())
	c.add(f.isClient(true), limitOver(clientLimit), count("limited"), drop())
	c.add(tcp(), f.change("add", "asked"))
	c.add(tcp(), f.change("add", "asking"))
	c.add(count("asked"))
	for _, p := range peers {
		c.addFor(p.Name, f.copyTo(p.hop(f.v6), p.Link, links[p.Link]))
	}
	if awaited == 0 {
		c.add(count("given-up"), acceptPacket())
		return c
	}
	c.add(drop())
	return c
}

// awaited is how many peers will answer a question.
func awaited(peers []RescuePeer) (n int) {
	for _, p := range peers {
		if p.Ask && !p.Gone {
			n++
		}
	}
	return n
}

// denied decides over a packet that comes back from a peer who does not know its
// flow. Once all have said so, nobody will claim it, and it need not wait.
func (f family) denied(peers []RescuePeer) chain {
	c := chain{name: "denied"}
	c.add(isKnown(), drop())
	c.add(tcp(), f.in("asked", true), drop())
	c.add(tcp(), f.in("fresh", false), drop())
	if n := awaited(peers); n > 1 {
		c.add(tcp(), onEthernet(), f.inWithMAC("denied"), drop())
		c.add(tcp(), onEthernet(), f.addWithMAC("denied"), f.seenMoreThan(n-1, "denials"), count("given-up"), acceptPacket())
	} else if n == 1 {
		c.add(count("given-up"), acceptPacket())
	}
	c.add(drop())
	return c
}

// peer decides over what a peer has sent: its claim, its denial, or its question.
func (f family) peer(p RescuePeer, link int, mark uint32) chain {
	c := chain{name: p.chain()}
	hop := p.hop(f.v6)
	c.add(f.isDSCP(claimDSCP), f.noteClient())
	c.addFor(p.Name, tcp(), f.isDSCP(claimDSCP), f.own(ownerSet(p.Link), hop), f.change("update", "fresh"),
		f.change("delete", "asked"), f.change("delete", "asking"), count("claimed"), drop())
	c.add(f.isDSCP(claimDSCP), drop()) // one that found no room
	c.add(f.isDSCP(denialDSCP), gotoChain("denied"))
	c.addFor(p.Name, isUnknown(), f.setDSCP(denialDSCP), f.copyTo(hop, p.Link, link), drop())
	c.add(tcp(), onEthernet(), f.inWithMAC("claimed"), acceptPacket())
	c.addFor(p.Name, tcp(), onEthernet(), f.addWithMAC("claimed"), setMark(mark, true), f.copyTo(hop, p.Link, link), setMark(mark, false))
	return c
}

// out makes the copies that peer has marked into claims. A copy is sent like a
// packet of this node's own, so that what is merely forwarded does not come here.
// Copies are not tracked, and still have the service's address, so nobody else's
// packet is changed.
func (f family) out(mark uint32) chain {
	c := chain{name: "out", hook: nftables.ChainHookOutput}
	c.add(isMarked(mark), isUntracked(), tcp(), f.isService(), f.setDSCP(claimDSCP))
	return c
}

// exprs are a rule as the kernel takes it.
func (r rule) exprs() []expr.Any {
	var out []expr.Any
	for _, w := range r.words {
		out = append(out, w.exprs...)
	}
	return out
}
