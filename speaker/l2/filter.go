package l2

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// maxSpans fits, at two instructions each and some more for each network, the
// kernel's limit of 4,096.
const maxSpans = 1800

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
	p := &program{}
	if len(t.v6) > 0 {
		p.require(offNextHeader, 1, icmpv6)
		p.require(offHopLimit, 1, maxHopLimit)
		p.add(bpf.LoadAbsolute{Off: offICMP, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: solicit, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: advertise, SkipTrue: 1},
			drop)
		p.targets(t, spans)
	}
	p.add(drop)
	return p.ins
}

// maxNetworks is how many networks are told apart in the kernel.
const maxNetworks = 16

// targets accepts the targets of the table. The upper 96 bits are compared one
// network after the other. Where there are too many networks only the lowest 32
// bits are, and Go compares the rest.
func (p *program) targets(t *table, spans int) {
	networks := map[[12]byte][]uint32{}
	var all []uint32
	for a := range t.v6 {
		low := binary.BigEndian.Uint32(a[12:])
		networks[[12]byte(a[:12])] = append(networks[[12]byte(a[:12])], low)
		all = append(all, low)
	}
	if len(networks) > maxNetworks {
		p.add(bpf.LoadAbsolute{Off: offNDPTarget + 12, Size: 4})
		p.search(cover(all, spans))
		return
	}
	for network, low := range networks {
		var exits []int
		for word := range 3 {
			p.add(bpf.LoadAbsolute{Off: offNDPTarget + 4*uint32(word), Size: 4},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(network[4*word:]), SkipTrue: 1},
				bpf.Jump{})
			exits = append(exits, len(p.ins)-1)
		}
		p.add(bpf.LoadAbsolute{Off: offNDPTarget + 12, Size: 4})
		p.search(cover(low, max(1, spans*len(low)/len(all))))
		p.join(exits)
	}
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

// join leads the jumps at the exits to what comes next.
func (p *program) join(exits []int) {
	for _, at := range exits {
		p.ins[at] = bpf.Jump{Skip: uint32(len(p.ins) - at - 1)}
	}
}

// search accepts the frame if the value loaded is in one of the spans, and goes
// on behind the search if it is not.
//
// It is a binary search. A conditional jump reaches 255 instructions, so the
// tree is cut into blocks, each with an exit of its own within reach.
func (p *program) search(spans []span) {
	p.add(bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[0].lo, SkipTrue: 1}, bpf.Jump{})
	p.join(p.branch(spans, []int{len(p.ins) - 1}))
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
	p.join([]int{over})
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
