package main

import (
	"bytes"
	"net"
	"slices"
)

// meta is what a speaker tells the others of itself.
type meta struct {
	rescues bool // it answers what others ask for flow rescue
	macs    []net.HardwareAddr
}

// On the wire: the version, the flags, and the MACs.
const (
	metaVersion = 2
	metaHead    = 2
	flagRescues = 1
	macSize     = 6
)

// encode drops what does not fit: a node whose link is not known counts as a
// stranger where two answer for one address, and nothing worse.
func (m meta) encode(limit int) []byte {
	b := []byte{metaVersion, 0}
	if m.rescues {
		b[1] = flagRescues
	}
	for _, mac := range m.macs {
		if len(b)+macSize <= limit {
			b = append(b, mac...)
		}
	}
	return b
}

// decodeMeta reads what encode wrote. What a speaker of another version says is
// passed over.
func decodeMeta(b []byte) (m meta, ok bool) {
	if len(b) < metaHead || b[0] != metaVersion {
		return meta{}, false
	}
	m.rescues = b[1]&flagRescues != 0
	for mac := range slices.Chunk(b[metaHead:], macSize) {
		if len(mac) == macSize {
			m.macs = append(m.macs, mac)
		}
	}
	return m, true
}

func (m meta) has(mac net.HardwareAddr) bool {
	return slices.ContainsFunc(m.macs, func(o net.HardwareAddr) bool { return bytes.Equal(o, mac) })
}
