package l2

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// maxSpans fits, at two instructions each, the kernel's limit of 4,096.
const maxSpans = 1900

// program is classic BPF in the making. It runs in the kernel on each ARP or
// IPv6 frame of a link, so that frames which do not concern us wake nobody. A
// load beyond the end of a frame drops the frame.
type program struct{ ins []bpf.Instruction }

func (p *program) add(ins ...bpf.Instruction) { p.ins = append(p.ins, ins...) }

var (
	accept = bpf.RetConstant{Val: maxFrame}
	drop   = bpf.RetConstant{Val: 0}
)

// arpFilter lets through ARP for, or from, an address of the table.
func arpFilter(t *table, spans int) []bpf.Instruction {
	values := make([]uint32, 0, len(t.v4))
	for a := range t.v4 {
		values = append(values, binary.BigEndian.Uint32(a[:]))
	}
	targets, senders := spans/2, spans/2
	if len(runs(values)) > targets {
		// Announcements of others are rare, requests are not.
		targets, senders = spans*3/4, spans/4
	}
	p := &program{}
	if len(values) > 0 {
		p.require(offARPFormat, 4, arpFormat)
		p.require(offARPSizes, 2, arpSizes)
		p.add(bpf.LoadAbsolute{Off: offTargetIP, Size: 4})
		p.search(cover(values, targets))
		p.add(bpf.LoadAbsolute{Off: offSenderIP, Size: 4})
		p.search(cover(values, senders))
	}
	p.add(drop)
	return p.ins
}

// ndpFilter lets through solicitations and advertisements for an address of the
// table.
func ndpFilter(t *table, spans int) []bpf.Instruction {
	var low []uint32
	networks := map[[12]byte]struct{}{}
	for a := range t.v6 {
		low = append(low, binary.BigEndian.Uint32(a[12:]))
		networks[[12]byte(a[:12])] = struct{}{}
	}
	p := &program{}
	if len(low) > 0 {
		p.require(offNextHeader, 1, icmpv6)
		p.require(offHopLimit, 1, maxHopLimit)
		p.add(bpf.LoadAbsolute{Off: offICMP, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: solicit, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: advertise, SkipTrue: 1},
			drop)
		p.within(networks)
		p.add(bpf.LoadAbsolute{Off: offNDPTarget + 12, Size: 4})
		p.search(cover(low, spans))
	}
	p.add(drop)
	return p.ins
}

// guard stops what the interface would not take itself: frames for others, seen
// while it is promiscuous, and those of a VLAN that has no interface of its own
// here, which the kernel hands over without their tag.
func guard(rest []bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
		drop,
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 4},
		bpf.LoadExtension{Num: bpf.ExtVLANTag},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xfff},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		drop,
	}, rest...)
}

func (p *program) require(off uint32, size int, value uint32) {
	p.add(bpf.LoadAbsolute{Off: off, Size: size},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1},
		drop)
}

// maxNetworks is how many networks are told apart in the kernel.
const maxNetworks = 16

// within requires that the upper 96 bits of the target are one of the networks.
// Where there are many the search alone has to do, and Go checks the rest.
func (p *program) within(networks map[[12]byte]struct{}) {
	if len(networks) > maxNetworks {
		return
	}
	const each = 6 // instructions
	left := len(networks)
	for n := range networks {
		left--
		for word := range 3 {
			jump := bpf.JumpIf{
				Cond:      bpf.JumpEqual,
				Val:       binary.BigEndian.Uint32(n[4*word:]),
				SkipFalse: uint8(each - 2*(word+1)), // to the next network
			}
			if word == 2 {
				jump.SkipTrue = uint8(left*each + 1) // over the other networks and the drop
			}
			p.add(bpf.LoadAbsolute{Off: offNDPTarget + 4*uint32(word), Size: 4}, jump)
		}
	}
	p.add(drop)
}

// search accepts the frame if the value loaded is in one of the spans, and goes
// on behind the search if it is not.
//
// It is a binary search. A conditional jump reaches 255 instructions, so the
// tree is cut into blocks, each with an exit of its own within reach.
func (p *program) search(spans []span) {
	p.add(bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[0].lo, SkipTrue: 1}, bpf.Jump{})
	exits := p.branch(spans, []int{len(p.ins) - 1})
	for _, at := range exits {
		p.ins[at] = bpf.Jump{Skip: uint32(len(p.ins) - at - 1)}
	}
}

// blockSpans keeps the longest jump within a block, over 2 instructions for each
// span, under 256.
const blockSpans = 120

// branch adds the search of spans, the lowest of which does not begin above the
// value, to the program, and where it leaves on a miss to exits.
func (p *program) branch(spans []span, exits []int) []int {
	if len(spans) <= blockSpans {
		p.leaf(spans, 0)
		p.add(accept, bpf.Jump{})
		return append(exits, len(p.ins)-1)
	}
	half := len(spans) / 2
	p.add(bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[half].lo, SkipFalse: 1}, bpf.Jump{})
	over := len(p.ins) - 1
	exits = p.branch(spans[:half], exits)
	p.ins[over] = bpf.Jump{Skip: uint32(len(p.ins) - over - 1)}
	return p.branch(spans[half:], exits)
}

// leaf adds the tree within a block, after which the block has rest more
// instructions before it accepts.
func (p *program) leaf(spans []span, rest int) {
	if len(spans) == 1 {
		p.add(bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: spans[0].hi, SkipTrue: uint8(rest + 1), SkipFalse: uint8(rest)})
		return
	}
	half := len(spans) / 2
	left, right := 2*half-1, 2*(len(spans)-half)-1
	p.add(bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[half].lo, SkipTrue: uint8(left)})
	p.leaf(spans[:half], right+rest)
	p.leaf(spans[half:], rest)
}
