package l2

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

// Who is who in the tests of single frames.
var (
	us       = mac{0x02, 0, 0, 0, 0, 1}
	client   = mac{0x02, 0, 0, 0, 0, 9}
	stranger = mac{0x02, 0, 0, 0, 0, 0x66}

	vip4    = netip.MustParseAddr("192.0.2.200")
	other4  = netip.MustParseAddr("192.0.2.201")
	host4   = netip.MustParseAddr("192.0.2.99")
	nobody4 = netip.IPv4Unspecified()
	vip6    = netip.MustParseAddr("2001:db8::200")
	other6  = netip.MustParseAddr("2001:db8::201")
	host6   = netip.MustParseAddr("fe80::9")
	nobody6 = netip.IPv6Unspecified()
	ours    = newTable(us, []netip.Addr{vip4, vip6}, &table{})
)

// edit is a change to a frame; what it breaks may need a new checksum.
type edit func([]byte) []byte

func with(frame []byte, edits ...edit) []byte {
	b := append([]byte(nil), frame...)
	for _, e := range edits {
		b = e(b)
	}
	return b
}

func set(off int, values ...byte) edit {
	return func(b []byte) []byte {
		copy(b[off:], values)
		return b
	}
}

func setMAC(off int, m mac) edit { return set(off, m[:]...) }

func setIP(off int, a netip.Addr) edit { return set(off, a.AsSlice()...) }

func cut(n int) edit { return func(b []byte) []byte { return b[:n] } }

func pad(n int) edit { return func(b []byte) []byte { return append(b, make([]byte, n)...) } }

// tagged puts a VLAN tag into the frame.
func tagged(b []byte) []byte {
	return append(append(b[:12:12], 0x81, 0, 0, 7), b[12:]...)
}

// summed sets the right checksum.
func summed(b []byte) []byte {
	b[offChecksum], b[offChecksum+1] = 0, 0
	binary.BigEndian.PutUint16(b[offChecksum:], ^checksum(b))
	return b
}

// withOptions replaces the options of an ND message.
func withOptions(options ...byte) edit {
	return func(b []byte) []byte {
		b = append(b[:offOptions:offOptions], options...)
		binary.BigEndian.PutUint16(b[offPayloadLen:], uint16(len(b)-offICMP))
		return summed(b)
	}
}

// arpOf is a frame as hosts send it.
func arpOf(op byte, from mac, sender netip.Addr, to mac, target netip.Addr) []byte {
	f := with(arpFrame(from, sender, target), set(offARPOp+1, op), setMAC(offDst, to))
	if to != broadcast {
		f = with(f, setMAC(offTargetMAC, to))
	}
	return f
}

// solicitation is what a host multicasts that looks for an address.
func solicitation(from mac, src, target netip.Addr) []byte { return probeNDP(from, src, target) }

// unicastNS is what it sends to see whether a neighbour is still there.
func unicastNS(from mac, src netip.Addr, to mac, target netip.Addr) []byte {
	return with(solicitation(from, src, target), setMAC(offDst, to), setIP(offDstIP, target), summed)
}

// na is a neighbour advertisement with the link-layer address of its sender.
func na(from mac, src netip.Addr, to mac, dst, target netip.Addr, solicited bool) []byte {
	return ndpFrame(from, to, src, dst, &ndp.NeighborAdvertisement{
		Solicited: solicited, Override: true, TargetAddress: target,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: from.hardware()}},
	})
}

// message is the ND message in a frame, read by the library and not by us.
func message(frame []byte) (f ethernet.Frame, m ndp.Message, err error) {
	if err = f.UnmarshalBinary(frame); err != nil {
		return f, nil, err
	}
	m, err = ndp.ParseMessage(f.Payload[40:])
	return f, m, err
}
