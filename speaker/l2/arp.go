package l2

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
)

// Offsets in an Ethernet frame that holds an ARP packet (RFC 826).
const (
	offDst       = 0
	offSrc       = 6
	offType      = 12
	ethLen       = 14
	offARPFormat = 14 // hardware type, protocol type
	offARPSizes  = 18
	offARPOp     = 20
	offSenderMAC = 22
	offSenderIP  = 28
	offTargetMAC = 32
	offTargetIP  = 38
	arpLen       = 42

	arpFormat = 0x0001_0800 // Ethernet, IPv4
	arpSizes  = 0x0604
	arpAsk    = 1
	arpTell   = 2
)

// answerARP decides what an ARP frame calls for. The reply is made in buf.
//
// A probe, whose sender address is 0.0.0.0, is answered like any request: that
// is how its sender finds out that the address is taken (RFC 5227 2.1.1).
func answerARP(t *table, frame, buf []byte) verdict {
	if len(frame) < arpLen || binary.BigEndian.Uint16(frame[offType:]) != uint16(ethernet.EtherTypeARP) ||
		binary.BigEndian.Uint32(frame[offARPFormat:]) != arpFormat ||
		binary.BigEndian.Uint16(frame[offARPSizes:]) != arpSizes {
		return verdict{malformed: true}
	}
	op := binary.BigEndian.Uint16(frame[offARPOp:])
	from := mac(frame[offSenderMAC:])
	if (op != arpAsk && op != arpTell) || !from.station() {
		return verdict{malformed: true}
	}
	if from == t.mac || mac(frame[offSrc:]) == t.mac {
		return verdict{} // our own frame, come back through a loop
	}
	var v verdict
	sender, target := [4]byte(frame[offSenderIP:]), [4]byte(frame[offTargetIP:])
	if t.v4[sender] != nil {
		v.rival, v.addr = from, netip.AddrFrom4(sender)
	}
	ours := t.v4[target]
	if op != arpAsk || ours == nil || sender == target {
		return v
	}
	v.request = true
	v.reply = append(buf[:0], ours...)
	copy(v.reply[offDst:], from[:])
	binary.BigEndian.PutUint16(v.reply[offARPOp:], arpTell)
	copy(v.reply[offTargetMAC:], from[:])
	copy(v.reply[offTargetIP:], sender[:])
	return v
}

// gratuitousARP announces an address in the form of a request whose sender is
// its target. Other unsolicited forms lose against the time for which a Linux
// neighbour holds on to what it has just learnt.
func gratuitousARP(m mac, a netip.Addr) []byte {
	return arpFrame(m, a, a)
}

// probeARP asks who else has an address, without claiming it: an ARP probe
// changes nobody's cache (RFC 5227 1.1).
func probeARP(m mac, a netip.Addr) []byte {
	return arpFrame(m, netip.IPv4Unspecified(), a)
}

func arpFrame(m mac, sender, target netip.Addr) []byte {
	var nobody mac
	p, err := arp.NewPacket(arp.OperationRequest, m.hardware(), sender, nobody.hardware(), target)
	if err != nil {
		return nil // not an IPv4 address
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return nil
	}
	return ethFrame(m, broadcast, ethernet.EtherTypeARP, body)
}

func ethFrame(from, to mac, kind ethernet.EtherType, body []byte) []byte {
	f := ethernet.Frame{Destination: to.hardware(), Source: from.hardware(), EtherType: kind, Payload: body}
	b, err := f.MarshalBinary()
	if err != nil {
		return nil
	}
	return b
}
