package main

import (
	"net"
	"testing"

	"github.com/heraldlb/herald/speaker/members"
)

func macs(n int) (out []net.HardwareAddr) {
	for i := range n {
		out = append(out, mac(i))
	}
	return out
}

func TestWhatSpeakersTellOfThemselves(t *testing.T) {
	encoded := func(rescues bool, n int) []byte { return meta{rescues, macs(n)}.encode(members.MetaSize) }
	rows := []struct {
		desc    string
		b       []byte
		mac     net.HardwareAddr
		has     bool
		rescues bool
		unknown bool
	}{
		{desc: "one link of two", b: encoded(false, 2), mac: mac(1), has: true},
		{desc: "another link", b: encoded(false, 2), mac: mac(2)},
		{desc: "no link at all", b: encoded(false, 0), mac: mac(0)},
		{desc: "no link, and rescue", b: encoded(true, 0), mac: mac(0), rescues: true},
		{desc: "as many links as fit, and rescue", b: encoded(true, 85), mac: mac(84), has: true, rescues: true},
		{desc: "more links than fit", b: encoded(false, 86), mac: mac(85)},
		{desc: "a speaker that tells nothing", mac: mac(0), unknown: true},
		{desc: "a speaker of another version", b: append([]byte{metaVersion + 1, 0}, mac(0)...), mac: mac(0), unknown: true},
		{desc: "flags of the future", b: append([]byte{metaVersion, 0xff}, mac(0)...), mac: mac(0), has: true, rescues: true},
		{desc: "cut short within a link", b: encoded(true, 1)[:5], mac: mac(0), rescues: true},
		{desc: "cut short within its head", b: encoded(true, 1)[:1], mac: mac(0), unknown: true},
	}
	for _, r := range rows {
		got, ok := decodeMeta(r.b)
		if ok == r.unknown || got.has(r.mac) != r.has || got.rescues != r.rescues {
			t.Errorf("%s: %+v, %v", r.desc, got, ok)
		}
		if len(r.b) > members.MetaSize {
			t.Errorf("%s: %d bytes", r.desc, len(r.b))
		}
	}
}
