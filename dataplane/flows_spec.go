package dataplane

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	// flowsTable is that of ours, in both families.
	flowsTable = "herald-flows"

	// flowSeenFor is for how long one more flow with the same addresses and ports
	// counts as the same: a router sends it to the same node, so it is no new
	// evidence. A clock that asks every minute from port 123 is one flow.
	flowSeenFor = 5 * time.Minute
	// flowSeenMost bounds the memory for that, to some 4 MiB a family. Past it flows
	// are counted without a question.
	flowSeenMost = 32768

	// firstPriority is before kube-proxy, whose chains have -100: what has changed a
	// packet's address decides over it, and nobody after it sees the packet.
	firstPriority = -190
)

// FlowSpec is what new flows are counted of. The order of its lists does not
// matter.
type FlowSpec struct {
	Addrs   []netip.Addr       // that this host announces
	Routers []net.HardwareAddr // whose frames are counted apart
	Links   []string           // on which packets from other hosts come in
}

// addrs are those of one family, sorted, each once.
func (s FlowSpec) addrs(v6 bool) []netip.Addr {
	out := slices.DeleteFunc(slices.Clone(s.Addrs), func(a netip.Addr) bool { return a.Is6() != v6 })
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// routers are those with an Ethernet address, sorted, each once.
func (s FlowSpec) routers() []net.HardwareAddr {
	out := slices.DeleteFunc(slices.Clone(s.Routers), func(m net.HardwareAddr) bool { return len(m) != 6 })
	slices.SortFunc(out, func(a, b net.HardwareAddr) int { return bytes.Compare(a, b) })
	return slices.CompactFunc(out, func(a, b net.HardwareAddr) bool { return bytes.Equal(a, b) })
}

// tables are what the spec comes to. A family without an address has none, since
// ours would make the kernel track that family's connections.
func (s FlowSpec) tables() []table {
	var out []table
	for _, f := range []family{family4, family6} {
		if len(s.addrs(f.v6)) > 0 {
			out = append(out, s.table(f))
		}
	}
	return out
}

// table is of one family. Its hook is one of nat, although it translates nothing:
// the kernel shows these the first packet of a connection and no other, so that all
// others cost nothing. They come behind all filters, so that what flow rescue sends
// to another node is not seen.
func (s FlowSpec) table(f family) table {
	addrs := s.addrs(f.v6)
	first := chain{name: "first", hook: nftables.ChainHookPrerouting, first: true}
	first.add(fromOtherThan("uplinks"), leave())
	first.add(tcp(), isOpening(), f.isAddress(), gotoChain("fresh"))
	first.add(udp(), f.isAddress(), gotoChain("fresh"))

	fresh := chain{name: "fresh"}
	fresh.add(f.isSeen(), leave())
	fresh.add(f.see())
	fresh.add(onEthernet(), f.isRouter(), leave())
	fresh.add(f.isOther())

	return table{family: f, name: flowsTable, chains: []chain{fresh, first}, sets: []set{
		{name: "uplinks", key: nftables.TypeIFName, elements: linkElements(s.Links)},
		{name: "addresses", key: f.addr, counter: true, elements: addressElements(addrs)},
		{name: "routers", key: nftables.MustConcatSetType(f.addr, nftables.TypeEtherAddr), concat: true, counter: true, elements: routerElements(addrs, s.routers())},
		{name: "others", key: f.addr, counter: true, elements: addressElements(addrs)},
		{name: "seen", key: f.ports(), concat: true, timeout: flowSeenFor, size: flowSeenMost},
	}}
}

func linkElements(names []string) []element {
	names = slices.Clone(names)
	slices.Sort(names)
	var out []element
	for _, name := range slices.Compact(names) {
		key := make([]byte, unix.IFNAMSIZ)
		copy(key, name)
		out = append(out, element{text: `"` + name + `"`, key: key})
	}
	return out
}

func routerElements(addrs []netip.Addr, macs []net.HardwareAddr) []element {
	var out []element
	for _, m := range macs {
		for _, a := range addrs {
			key := append(a.AsSlice(), m...)
			out = append(out, element{text: a.String() + " . " + m.String(), key: append(key, 0, 0)})
		}
	}
	return out
}

// Ruleset is what `nft list table ip herald-flows` and the same of ip6 show of the
// spec, before anything is counted.
func (s FlowSpec) Ruleset() string {
	var b strings.Builder
	for _, t := range s.tables() {
		b.WriteString(t.String())
	}
	return b.String()
}

// ports is the key of a flow of any protocol, as its client's packets show it.
func (f family) ports() nftables.SetDatatype {
	return nftables.MustConcatSetType(nftables.TypeInetProto, f.addr, nftables.TypeInetService, f.addr, nftables.TypeInetService)
}

// destination cuts the address of ours out of such a key: it is behind the
// protocol, the other address and its port, each padded to a register.
func (f family) destination(key []byte) (netip.Addr, bool) {
	from := registerBytes + int(f.addrLen) + registerBytes
	if len(key) < from+int(f.addrLen) {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(key[from : from+int(f.addrLen)])
}

func (f family) portsText() string {
	return "meta l4proto . " + f.name + " saddr . th sport . " + f.name + " daddr . th dport"
}

func (f family) loadPorts() []expr.Any {
	n := f.addrRegisters()
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(0)},
		load(expr.PayloadBaseNetworkHeader, f.saddr, f.addrLen, 1),
		load(expr.PayloadBaseTransportHeader, 0, 2, 1+n),
		load(expr.PayloadBaseNetworkHeader, f.daddr, f.addrLen, 2+n),
		load(expr.PayloadBaseTransportHeader, 2, 2, 2+2*n),
	}
}

func (f family) isSeen() word {
	return word{f.portsText() + " @seen", append(f.loadPorts(), &expr.Lookup{SourceRegister: register(0), SetName: "seen"})}
}

func (f family) see() word {
	return word{
		"add @seen { " + f.portsText() + " }",
		append(f.loadPorts(), &expr.Dynset{SrcRegKey: register(0), SetName: "seen", Operation: unix.NFT_DYNSET_OP_ADD}),
	}
}

// isRouter counts, too: the set does so at each match.
func (f family) isRouter() word {
	exprs := []expr.Any{load(expr.PayloadBaseNetworkHeader, f.daddr, f.addrLen, 0)}
	return word{
		f.name + " daddr . ether saddr @routers",
		append(append(exprs, loadMAC(f.addrRegisters())...), &expr.Lookup{SourceRegister: register(0), SetName: "routers"}),
	}
}

func (f family) isOther() word {
	return word{f.name + " daddr @others", []expr.Any{
		load(expr.PayloadBaseNetworkHeader, f.daddr, f.addrLen, 0),
		&expr.Lookup{SourceRegister: register(0), SetName: "others"},
	}}
}

func udp() word {
	w := protocol(unix.IPPROTO_UDP)
	w.text = "meta l4proto udp" // nothing after it says so
	return w
}

func fromOtherThan(set string) word {
	return word{"iifname != @" + set, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register(0)},
		&expr.Lookup{SourceRegister: register(0), SetName: set, Invert: true},
	}}
}

func leave() word { return verdict("return", expr.VerdictReturn) }
