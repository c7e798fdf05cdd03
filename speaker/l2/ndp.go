package l2

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

// Offsets in an Ethernet frame that holds a neighbour solicitation or
// advertisement (RFC 4861 4.3 and 4.4) without extension headers.
const (
	offIPv6       = 14
	offPayloadLen = 18
	offNextHeader = 20
	offHopLimit   = 21
	offSrcIP      = 22
	offDstIP      = 38
	offICMP       = 54
	offChecksum   = 56
	offFlags      = 58
	offNDPTarget  = 62
	offOptions    = 78

	icmpv6       = 58
	solicit      = 135
	advertise    = 136
	maxHopLimit  = 255
	minNDPLen    = 24
	optSourceMAC = 1
	optTargetMAC = 2
	flagSolicit  = 0x40
	flagOverride = 0x20
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = mac{0x33, 0x33, 0, 0, 0, 1}
)

// neighbour is a neighbour solicitation or advertisement that passed all checks.
type neighbour struct {
	kind     byte
	from     mac // the link-layer option's; the frame's where there is none
	src, dst [16]byte
	target   [16]byte
}

// answerNDP decides what an IPv6 frame calls for. The reply is made in buf.
func answerNDP(t *table, frame, buf []byte) verdict {
	n, ok := parseNDP(frame)
	if !ok {
		return verdict{malformed: true}
	}
	ours := t.v6[n.target]
	if ours == nil || n.from == t.mac || mac(frame[offSrc:]) == t.mac {
		return verdict{}
	}
	if n.kind == advertise || n.src == n.target {
		return verdict{rival: n.from, addr: netip.AddrFrom16(n.target)}
	}
	return verdict{request: true, reply: advertisement(ours, n, buf)}
}

// advertisement answers a solicitation with the frame that announces the
// address. Duplicate address detection, which has no source address, is told by
// multicast and without the Solicited flag, as announced (RFC 4861 7.2.4).
func advertisement(announced []byte, n neighbour, buf []byte) []byte {
	b := append(buf[:0], announced...)
	if n.src == ([16]byte{}) {
		return b
	}
	copy(b[offDst:], n.from[:])
	copy(b[offDstIP:], n.src[:])
	b[offFlags] |= flagSolicit
	b[offChecksum], b[offChecksum+1] = 0, 0
	binary.BigEndian.PutUint16(b[offChecksum:], ^checksum(b))
	return b
}

// parseNDP checks what RFC 4861 7.1.1 and 7.1.2 demand.
func parseNDP(frame []byte) (n neighbour, ok bool) {
	if len(frame) < offOptions || binary.BigEndian.Uint16(frame[offType:]) != uint16(ethernet.EtherTypeIPv6) ||
		frame[offIPv6]>>4 != 6 || frame[offNextHeader] != icmpv6 || frame[offHopLimit] != maxHopLimit {
		return n, false
	}
	// What follows the IPv6 payload is padding of the frame.
	length := int(binary.BigEndian.Uint16(frame[offPayloadLen:]))
	if length < minNDPLen || len(frame) < offICMP+length {
		return n, false
	}
	frame = frame[:offICMP+length]
	n = neighbour{
		kind:   frame[offICMP],
		from:   mac(frame[offSrc:]),
		src:    [16]byte(frame[offSrcIP:]),
		dst:    [16]byte(frame[offDstIP:]),
		target: [16]byte(frame[offNDPTarget:]),
	}
	if (n.kind != solicit && n.kind != advertise) || frame[offICMP+1] != 0 || group(n.target) || group(n.src) ||
		checksum(frame) != 0xffff {
		return n, false
	}
	option, ok := linkOption(frame[offOptions:], n.kind)
	if !ok || !n.addressed(option != mac{}, frame[offFlags]&flagSolicit != 0) {
		return n, false
	}
	if option != (mac{}) {
		n.from = option
	}
	return n, n.from.station()
}

// addressed checks that source, destination, link-layer option and the
// Solicited flag go together.
func (n neighbour) addressed(option, solicited bool) bool {
	var unspecified [16]byte
	switch {
	case n.kind == advertise:
		return n.src != unspecified && (!solicited || !group(n.dst))
	case n.src == unspecified:
		return n.dst == solicitedNode(n.target) && !option
	default:
		return n.dst == n.target || group(n.dst)
	}
}

// linkOption finds the link-layer address option that belongs to the message,
// and tells whether all options are well formed. No option is the zero mac.
func linkOption(b []byte, kind byte) (m mac, ok bool) {
	want := byte(optSourceMAC)
	if kind == advertise {
		want = optTargetMAC
	}
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || len(b) < 8*int(b[1]) {
			return m, false
		}
		if b[0] == want {
			if b[1] != 1 || !mac(b[2:]).station() {
				return m, false
			}
			m = mac(b[2:])
		}
		b = b[8*int(b[1]):]
	}
	return m, true
}

func group(a [16]byte) bool { return a[0] == 0xff }

// solicitedNode is the group that an address is asked for in (RFC 4291 2.7.1).
func solicitedNode(a [16]byte) [16]byte {
	return [16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]}
}

// groupMAC is where Ethernet carries an IPv6 group (RFC 2464 7).
func groupMAC(a [16]byte) mac { return mac{0x33, 0x33, a[12], a[13], a[14], a[15]} }

// checksum sums the ICMPv6 message and its pseudo header. With a right checksum
// in place it is 0xffff; with zeros there its complement is the checksum.
func checksum(frame []byte) uint16 {
	sum := uint32(len(frame)-offICMP) + icmpv6
	for b := frame[offSrcIP:]; len(b) > 0; {
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
			break
		}
		sum += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// unsolicitedNA announces an address to all nodes.
func unsolicitedNA(m mac, a netip.Addr) []byte {
	return ndpFrame(m, allNodesMAC, a, allNodes, &ndp.NeighborAdvertisement{
		Override:      true,
		TargetAddress: a,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: m.hardware()}},
	})
}

// probeNDP asks who else has an address. With a source it is answered to us
// alone; without one, as duplicate address detection asks, the answer goes to
// all nodes and turns their caches to a rival.
func probeNDP(m mac, src, a netip.Addr) []byte {
	to := solicitedNode(a.As16())
	ns := &ndp.NeighborSolicitation{TargetAddress: a}
	if !src.IsUnspecified() {
		ns.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: m.hardware()}}
	}
	return ndpFrame(m, groupMAC(to), src, netip.AddrFrom16(to), ns)
}

func ndpFrame(from, to mac, src, dst netip.Addr, message ndp.Message) []byte {
	body, err := ndp.MarshalMessageChecksum(message, src, dst)
	if err != nil {
		return nil // not an IPv6 address
	}
	packet := make([]byte, 0, 40+len(body))
	packet = append(packet, 0x60, 0, 0, 0)
	packet = binary.BigEndian.AppendUint16(packet, uint16(len(body)))
	packet = append(packet, icmpv6, maxHopLimit)
	packet = append(packet, src.AsSlice()...)
	packet = append(packet, dst.AsSlice()...)
	return ethFrame(from, to, ethernet.EtherTypeIPv6, append(packet, body...))
}

// announcement tells all neighbours that the address is at the MAC.
func announcement(m mac, a netip.Addr) []byte {
	if a.Is4() {
		return gratuitousARP(m, a)
	}
	return unsolicitedNA(m, a)
}
