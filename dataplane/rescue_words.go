package dataplane

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// word is a part of a rule: as nft prints it, and as the kernel takes it. Both
// stand side by side so that a test can compare what we mean with what nft reads
// back.
type word struct {
	text  string
	exprs []expr.Any
}

// The kernel's registers: sixteen of four bytes each.
const (
	register0     = unix.NFT_REG32_00
	registerBytes = 4
)

func register(n int) uint32 { return uint32(register0 + n) }

// family is what differs between IPv4 and IPv6.
type family struct {
	v6         bool
	table      nftables.TableFamily
	name       string // of the family, in nft
	addr       nftables.SetDatatype
	saddr      uint32 // offsets in the header
	daddr      uint32
	addrLen    uint32
	clientBits int // of an address, are one network's
	icmp       string
	icmpProto  byte
	icmpErrors []byte // types that carry the head of a packet of ours
	icmpType   nftables.SetDatatype
	innerProto uint32 // offset of the embedded header's protocol, behind the ICMP header's start
}

var (
	family4 = family{
		table: nftables.TableFamilyIPv4, name: "ip", addr: nftables.TypeIPAddr, saddr: 12, daddr: 16, addrLen: 4, clientBits: 24,
		// destination unreachable, time exceeded, parameter problem
		icmp: "icmp", icmpProto: unix.IPPROTO_ICMP, icmpErrors: []byte{3, 11, 12}, icmpType: nftables.TypeICMPType, innerProto: 8 + 9,
	}
	family6 = family{
		v6: true, table: nftables.TableFamilyIPv6, name: "ip6", addr: nftables.TypeIP6Addr, saddr: 8, daddr: 24, addrLen: 16, clientBits: 64,
		// the same, and packet too big
		icmp: "icmpv6", icmpProto: unix.IPPROTO_ICMPV6, icmpErrors: []byte{1, 2, 3, 4}, icmpType: nftables.TypeICMP6Type, innerProto: 8 + 6,
	}
)

// flow is the key of a connection, as its client's packets show it.
func (f family) flow() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.addr, nftables.TypeInetService, f.addr, nftables.TypeInetService)
}

func (f family) flowText() string {
	return fmt.Sprintf("%s saddr . tcp sport . %s daddr . tcp dport", f.name, f.name)
}

// addrRegisters is how many registers an address takes.
func (f family) addrRegisters() int { return int(f.addrLen / registerBytes) }

// afterFlow is the first register behind a flow's key.
func (f family) afterFlow() int { return 2*f.addrRegisters() + 2 }

// load loads from the packet into a register.
func load(base expr.PayloadBase, offset, length uint32, reg int) expr.Any {
	return &expr.Payload{DestRegister: register(reg), Base: base, Offset: offset, Len: length}
}

// loadFlow must come anew before each use of a set: nft 1.0.6 does not follow a
// register from one to the next, and aborts.
func (f family) loadFlow() []expr.Any {
	n := f.addrRegisters()
	return []expr.Any{
		load(expr.PayloadBaseNetworkHeader, f.saddr, f.addrLen, 0),
		load(expr.PayloadBaseTransportHeader, 0, 2, n),
		load(expr.PayloadBaseNetworkHeader, f.daddr, f.addrLen, n+1),
		load(expr.PayloadBaseTransportHeader, 2, 2, 2*n+1),
	}
}

func equal(reg int, data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register(reg), Data: data}
}

func immediate(reg int, data []byte) expr.Any {
	return &expr.Immediate{Register: register(reg), Data: data}
}

func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// protocol is what every word about ports or types must follow. nft leaves it out
// when it prints.
func protocol(p byte) word {
	return word{"", []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(0)}, equal(0, []byte{p})}}
}

func tcp() word { return protocol(unix.IPPROTO_TCP) }

// isService: the packet is for one of our ports.
func (f family) isService() word {
	return word{fmt.Sprintf("%s daddr . tcp dport @vips", f.name), []expr.Any{
		load(expr.PayloadBaseNetworkHeader, f.daddr, f.addrLen, 0),
		load(expr.PayloadBaseTransportHeader, 2, 2, f.addrRegisters()),
		&expr.Lookup{SourceRegister: register(0), SetName: "vips"},
	}}
}

func (f family) isAddress() word {
	return word{fmt.Sprintf("%s daddr @addresses", f.name), []expr.Any{
		load(expr.PayloadBaseNetworkHeader, f.daddr, f.addrLen, 0),
		&expr.Lookup{SourceRegister: register(0), SetName: "addresses"},
	}}
}

// isError: an ICMP error with the head of a TCP packet.
func (f family) isError() word {
	return word{fmt.Sprintf("%s type @errors @th,%d,8 0x6", f.icmp, f.innerProto*8), []expr.Any{
		load(expr.PayloadBaseTransportHeader, 0, 1, 0),
		&expr.Lookup{SourceRegister: register(0), SetName: "errors"},
		load(expr.PayloadBaseTransportHeader, f.innerProto, 1, 0),
		equal(0, []byte{unix.IPPROTO_TCP}),
	}}
}

// isOpening: SYN alone, of the flags that matter.
func isOpening() word {
	return word{"tcp flags syn / fin,syn,rst,ack", []expr.Any{
		load(expr.PayloadBaseTransportHeader, 13, 1, 0),
		&expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: 1, Mask: []byte{0x17}, Xor: []byte{0}},
		equal(0, []byte{0x02}),
	}}
}

func ctState(text string, bits uint32) word {
	return word{"ct state " + text, []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register(0)},
		&expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: 4, Mask: native(bits), Xor: native(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register(0), Data: native(0)},
	}}
}

func isKnown() word {
	return ctState("established,related", expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

func isUnknown() word {
	return ctState("invalid,new,untracked", expr.CtStateBitINVALID|expr.CtStateBitNEW|expr.CtStateBitUNTRACKED)
}

func isUntracked() word { return ctState("untracked", expr.CtStateBitUNTRACKED) }

// loadMAC loads the source of an Ethernet frame.
func loadMAC(reg int) []expr.Any {
	return []expr.Any{load(expr.PayloadBaseLLHeader, 6, 6, reg)}
}

// onEthernet must come before words about MACs. nft leaves it out as well.
func onEthernet() word {
	return word{"", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: register(0)},
		equal(0, binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)),
	}}
}

// byPeer goes to the chain of the peer who has sent the frame, if one has.
func byPeer() word {
	return word{"ether saddr vmap @peers", append(loadMAC(0),
		&expr.Lookup{SourceRegister: register(0), SetName: "peers", IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT})}
}

func isPeer() word {
	return word{"ether saddr @macs", append(loadMAC(0), &expr.Lookup{SourceRegister: register(0), SetName: "macs"})}
}

func fromLink(name string) word {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return word{fmt.Sprintf("iifname %q", name), []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register(0)}, equal(0, data)}}
}

func verdict(text string, kind expr.VerdictKind) word {
	return word{text, []expr.Any{&expr.Verdict{Kind: kind}}}
}

func drop() word         { return verdict("drop", expr.VerdictDrop) }
func acceptPacket() word { return verdict("accept", expr.VerdictAccept) }

func gotoChain(name string) word {
	return word{"goto " + name, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: name}}}
}

// count counts in a named counter.
func count(name string) word {
	return word{fmt.Sprintf("counter name %q", name), []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: name}}}
}

func limitOver(rate uint64) word {
	return word{fmt.Sprintf("limit rate over %d/second burst %d packets", rate, rate), []expr.Any{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Over: true, Unit: expr.LimitTimeSecond, Burst: uint32(rate)},
	}}
}

// in: the flow is in a set, or is not.
func (f family) in(set string, not bool) word {
	sign := ""
	if not {
		sign = "!= "
	}
	return word{
		fmt.Sprintf("%s %s@%s", f.flowText(), sign, set),
		append(f.loadFlow(), &expr.Lookup{SourceRegister: register(0), SetName: set, Invert: not}),
	}
}

// change adds the flow to a set, or deletes it.
func (f family) change(verb, set string) word {
	op := map[string]uint32{"add": unix.NFT_DYNSET_OP_ADD, "update": unix.NFT_DYNSET_OP_UPDATE, "delete": dynsetDelete}[verb]
	return word{
		fmt.Sprintf("%s @%s { %s }", verb, set, f.flowText()),
		append(f.loadFlow(), &expr.Dynset{SrcRegKey: register(0), SetName: set, Operation: op}),
	}
}

// loadClient loads the network of the sender. Neighbours vouch for each other,
// since most clients have few connections.
func (f family) loadClient() []expr.Any {
	return []expr.Any{
		load(expr.PayloadBaseNetworkHeader, f.saddr, f.addrLen, 0),
		&expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: f.addrLen, Mask: f.clientMask(), Xor: make([]byte, f.addrLen)},
	}
}

func (f family) clientMask() []byte { return net.CIDRMask(f.clientBits, int(f.addrLen)*8) }

func (f family) clientText() string {
	return fmt.Sprintf("%s saddr & %s", f.name, net.IP(f.clientMask()))
}

// isClient: something of the sender's network has been claimed lately, or has not.
func (f family) isClient(yes bool) word {
	sign := map[bool]string{true: "==", false: "!="}[yes]
	return word{
		fmt.Sprintf("%s %s @clients", f.clientText(), sign),
		append(f.loadClient(), &expr.Lookup{SourceRegister: register(0), SetName: "clients", Invert: !yes}),
	}
}

func (f family) noteClient() word {
	return word{
		fmt.Sprintf("update @clients { %s }", f.clientText()),
		append(f.loadClient(), &expr.Dynset{SrcRegKey: register(0), SetName: "clients", Operation: unix.NFT_DYNSET_OP_UPDATE}),
	}
}

// dynsetDelete is NFT_DYNSET_OP_DELETE of linux/netfilter/nf_tables.h, Linux 5.4.
const dynsetDelete = 2

// own notes who has the flow. The data are constants: nft 1.0.6 aborts on those
// that it would have to look up.
func (f family) own(set string, who netip.Addr) word {
	exprs := append(f.loadFlow(), immediate(f.afterFlow(), who.AsSlice()),
		&expr.Dynset{SrcRegKey: register(0), SrcRegData: register(f.afterFlow()), SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE})
	return word{fmt.Sprintf("update @%s { %s : %s }", set, f.flowText(), who), exprs}
}

// flowAndMAC is the key of a flow with the one who asks for it.
func (f family) flowAndMAC() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.addr, nftables.TypeInetService, f.addr, nftables.TypeInetService, nftables.TypeEtherAddr)
}

// inWithMAC: the flow and who has sent this packet are in a set.
func (f family) inWithMAC(set string) word {
	return word{
		fmt.Sprintf("%s . ether saddr @%s", f.flowText(), set),
		append(append(f.loadFlow(), loadMAC(f.afterFlow())...), &expr.Lookup{SourceRegister: register(0), SetName: set}),
	}
}

func (f family) addWithMAC(set string) word {
	return word{
		fmt.Sprintf("add @%s { %s . ether saddr }", set, f.flowText()),
		append(append(f.loadFlow(), loadMAC(f.afterFlow())...),
			&expr.Dynset{SrcRegKey: register(0), SetName: set, Operation: unix.NFT_DYNSET_OP_ADD}),
	}
}

// seenMoreThan counts packets of the flow in a set, and goes on with the rule from
// the one after so many. nftables cannot count up to a number, but has a bucket
// for each element, which hardly fills as long as an element lives.
func (f family) seenMoreThan(many int, set string) word {
	return word{
		fmt.Sprintf("update @%s { %s limit rate over 1/hour burst %d packets }", set, f.flowText(), many),
		append(f.loadFlow(), &expr.Dynset{
			SrcRegKey: register(0), SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE,
			Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Over: true, Unit: expr.LimitTimeHour, Burst: uint32(many)}},
		}),
	}
}

// copyTo sends a copy to a next hop.
func (f family) copyTo(hop netip.Addr, link string, index int) word {
	n := f.addrRegisters()
	return word{fmt.Sprintf("dup to %s device %q", hop, link), []expr.Any{
		immediate(0, hop.AsSlice()),
		immediate(n, native(uint32(index))),
		&expr.Dup{RegAddr: register(0), RegDev: register(n), IsRegDevSet: true},
	}}
}

// copyToOwner sends a copy to the flow's owner. Without one the rule ends here.
func (f family) copyToOwner(set, link string, index int) word {
	after, n := f.afterFlow(), f.addrRegisters()
	exprs := append(f.loadFlow(),
		&expr.Lookup{SourceRegister: register(0), SetName: set, IsDestRegSet: true, DestRegister: register(after)},
		immediate(after+n, native(uint32(index))),
		&expr.Dup{RegAddr: register(after), RegDev: register(after + n), IsRegDevSet: true})
	return word{fmt.Sprintf("dup to %s map @%s device %q", f.flowText(), set, link), exprs}
}

// These tell answers from questions: the connection is of the node that has sent
// this, and it is not.
const (
	claimDSCP  = 63
	denialDSCP = 62
)

// isDSCP matches on the six bits of the DSCP.
func (f family) isDSCP(is byte) word {
	offset, mask, want := uint32(1), []byte{0xfc}, []byte{is << 2}
	if f.v6 {
		offset, mask, want = 0, []byte{0x0f, 0xc0}, binary.BigEndian.AppendUint16(nil, uint16(is)<<6)
	}
	length := uint32(len(mask))
	return word{fmt.Sprintf("%s dscp 0x%x", f.name, is), []expr.Any{
		load(expr.PayloadBaseNetworkHeader, offset, length, 0),
		&expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: length, Mask: mask, Xor: make([]byte, length)},
		equal(0, want),
	}}
}

// setDSCP sets the six bits and leaves those beside them.
func (f family) setDSCP(to byte) word {
	mask, bits := []byte{0xff, 0x03}, []byte{0x00, to << 2}
	write := &expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: 0, Len: 2,
		CsumType: expr.CsumTypeInet, CsumOffset: 10,
	}
	if f.v6 {
		mask, bits = []byte{0xf0, 0x3f}, binary.BigEndian.AppendUint16(nil, uint16(to)<<6)
		write.CsumType, write.CsumOffset = expr.CsumTypeNone, 0
	}
	return word{fmt.Sprintf("%s dscp set 0x%x", f.name, to), []expr.Any{
		load(expr.PayloadBaseNetworkHeader, 0, 2, 0),
		&expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: 2, Mask: mask, Xor: bits},
		write,
	}}
}

func isMarked(bit uint32) word {
	return word{fmt.Sprintf("meta mark & 0x%08x != 0x00000000", bit), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register(0)},
		&expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: 4, Mask: native(bit), Xor: native(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register(0), Data: native(0)},
	}}
}

// setMark sets one bit of the mark or clears it.
func setMark(bit uint32, on bool) word {
	text, mask, xor := fmt.Sprintf("meta mark set meta mark & 0x%08x", ^bit), ^bit, uint32(0)
	if on {
		text, xor = fmt.Sprintf("meta mark set meta mark | 0x%08x", bit), bit
	}
	return word{text, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register(0)},
		&expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: 4, Mask: native(mask), Xor: native(xor)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register(0), SourceRegister: true},
	}}
}

// isStrayTunnel: a datagram to the overlay's port that comes from no peer.
func (f family) isStrayTunnel(port uint16) word {
	return word{fmt.Sprintf("udp dport %d %s saddr != @tunnels", port, f.name), []expr.Any{
		load(expr.PayloadBaseTransportHeader, 2, 2, 0),
		equal(0, binary.BigEndian.AppendUint16(nil, port)),
		load(expr.PayloadBaseNetworkHeader, f.saddr, f.addrLen, 0),
		&expr.Lookup{SourceRegister: register(0), SetName: "tunnels", Invert: true},
	}}
}
