package l2

import (
	"net"
	"net/netip"
)

// mac is an Ethernet address that can be compared.
type mac [6]byte

var broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// station tells whether a single interface may have the address: it is neither
// a group nor all zeros. Nothing is ever sent to what is not a station because
// a frame asked for it.
func (m mac) station() bool { return m[0]&1 == 0 && m != mac{} }

func (m mac) hardware() net.HardwareAddr { return append(net.HardwareAddr(nil), m[:]...) }

// table is what is answered for on one link, each address with the frame that
// announces it. It is immutable, so that the readers need no lock; replies are
// that frame with a few bytes changed. The zero value answers nothing.
type table struct {
	mac mac
	v4  map[[4]byte][]byte
	v6  map[[16]byte][]byte
}

// newTable makes the table of a link with the given MAC. Frames are taken over
// from the table before where nothing changed.
func newTable(m mac, addrs []netip.Addr, before *table) *table {
	t := &table{mac: m, v4: map[[4]byte][]byte{}, v6: map[[16]byte][]byte{}}
	for _, a := range addrs {
		frame := before.frame(a)
		if frame == nil || before.mac != m {
			frame = announcement(m, a)
		}
		if a.Is4() {
			t.v4[a.As4()] = frame
		} else {
			t.v6[a.As16()] = frame
		}
	}
	return t
}

// frame announces the address; nil: it is not in the table.
func (t *table) frame(a netip.Addr) []byte {
	if a.Is4() {
		return t.v4[a.As4()]
	}
	return t.v6[a.As16()]
}

func (t *table) has(a netip.Addr) bool { return t.frame(a) != nil }

// lacking returns those of the addresses that are not in the table.
func (t *table) lacking(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if !t.has(a) {
			out = append(out, a)
		}
	}
	return out
}

// addrs lists the table in no order.
func (t *table) addrs() []netip.Addr {
	out := make([]netip.Addr, 0, len(t.v4)+len(t.v6))
	for a := range t.v4 {
		out = append(out, netip.AddrFrom4(a))
	}
	for a := range t.v6 {
		out = append(out, netip.AddrFrom16(a))
	}
	return out
}

// verdict is what a frame calls for.
type verdict struct {
	malformed bool
	request   bool   // it asks for an address of the table
	reply     []byte // nil: none
	rival     mac    // another interface that uses addr
	addr      netip.Addr
}

func (v verdict) hasRival() bool { return v.addr.IsValid() }
