package bgp

import (
	"encoding/binary"
)

// The parts of an UPDATE, each as on the wire.
var (
	origin      = attribute(0x40, 1, 0)
	nextHopAttr = attribute(0x40, 3, 127, 0, 0, 9)
)

func attribute(flags, kind byte, value ...byte) []byte {
	return append([]byte{flags, kind, byte(len(value))}, value...)
}

func asPath(asn uint32) []byte {
	return attribute(0x40, 2, binary.BigEndian.AppendUint32([]byte{2, 1}, asn)...)
}

// update is an UPDATE of attributes, the last of which is the NLRI.
func update(parts ...[]byte) []byte {
	var attrs []byte
	for _, p := range parts[:len(parts)-1] {
		attrs = append(attrs, p...)
	}
	body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(attrs)))
	body = append(body, attrs...)
	return message(2, append(body, parts[len(parts)-1]...)...)
}
