package l2

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
)

func TestAnswerARP(t *testing.T) {
	request := arpOf(arpAsk, client, host4, broadcast, vip4)
	for _, c := range []struct {
		name  string
		frame []byte
		want  verdict // its reply only tells whether there is one
	}{
		{"a host asks all", request, replied()},
		{"a host asks us alone", arpOf(arpAsk, client, host4, us, vip4), replied()},
		{"a host probes before it takes the address", arpOf(arpAsk, client, nobody4, broadcast, vip4), replied()},
		{"without the padding", with(request, cut(arpLen)), replied()},
		{"from behind a bridge that puts its own source", with(request, setMAC(offSrc, stranger)), replied()},

		{"for another address", arpOf(arpAsk, client, host4, broadcast, other4), verdict{}},
		{"a reply to somebody", arpOf(arpTell, client, host4, us, vip4), verdict{}},
		{"another's announcement", arpOf(arpAsk, client, host4, broadcast, host4), verdict{}},
		{"our own announcement comes back", gratuitousARP(us, vip4), verdict{}},
		{"our own probe comes back", probeARP(us, vip4), verdict{}},

		{"a stranger announces our address", gratuitousARP(stranger, vip4), contested(vip4)},
		{"a stranger announces it as a reply", arpOf(arpTell, stranger, vip4, broadcast, vip4), contested(vip4)},
		{"a stranger answers our probe", arpOf(arpTell, stranger, vip4, us, nobody4), contested(vip4)},
		{"a stranger asks with our address", arpOf(arpAsk, stranger, vip4, broadcast, other4), contested(vip4)},

		{"nothing at all", nil, broken()},
		{"cut within the Ethernet header", with(request, cut(13)), broken()},
		{"cut within the addresses", with(request, cut(41)), broken()},
		{"tagged", with(request, tagged), broken()},
		{"of a network that is not Ethernet", with(request, set(15, 6)), broken()},
		{"for a protocol that is not IPv4", with(request, set(16, 0x86, 0xdd)), broken()},
		{"with hardware addresses of 8 bytes", with(request, set(18, 8)), broken()},
		{"with protocol addresses of 16 bytes", with(request, set(19, 16)), broken()},
		{"a reverse request", with(request, set(offARPOp+1, 3)), broken()},
		{"from all zeros", with(request, setMAC(offSenderMAC, mac{})), broken()},
		{"from the broadcast address", with(request, setMAC(offSenderMAC, broadcast)), broken()},
		{"from a group", with(request, set(offSenderMAC, 1)), broken()},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := bytes.Clone(c.frame)
			got := answerARP(ours, c.frame, nil)
			if !bytes.Equal(c.frame, before) {
				t.Error("the frame was changed")
			}
			compare(t, got, c.want)
			if got.reply != nil {
				checkARPReply(t, ours, c.frame, got.reply)
			}
		})
	}
}

func replied() verdict               { return verdict{request: true, reply: []byte{}} }
func broken() verdict                { return verdict{malformed: true} }
func contested(a netip.Addr) verdict { return verdict{addr: a, rival: stranger} }

func compare(t *testing.T, got, want verdict) {
	t.Helper()
	if got.malformed != want.malformed || got.request != want.request || got.addr != want.addr ||
		got.rival != want.rival || (got.reply == nil) != (want.reply == nil) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// checkARPReply reads a reply by the library's eyes.
func checkARPReply(t *testing.T, tb *table, question, reply []byte) {
	t.Helper()
	q, _ := readARP(t, question)
	p, f := readARP(t, reply)
	if p.Operation != arp.OperationReply || p.SenderIP != q.TargetIP || p.TargetIP != q.SenderIP ||
		!bytes.Equal(p.SenderHardwareAddr, tb.mac[:]) || !bytes.Equal(p.TargetHardwareAddr, q.SenderHardwareAddr) {
		t.Errorf("%+v\nis answered by\n%+v", q, p)
	}
	if !bytes.Equal(f.Source, tb.mac[:]) || !bytes.Equal(f.Destination, q.SenderHardwareAddr) {
		t.Errorf("the reply goes from %v to %v", f.Source, f.Destination)
	}
}

func readARP(t *testing.T, frame []byte) (p arp.Packet, f ethernet.Frame) {
	t.Helper()
	if err := f.UnmarshalBinary(frame); err != nil {
		t.Fatalf("%v: % x", err, frame)
	}
	if err := p.UnmarshalBinary(f.Payload); err != nil {
		t.Fatalf("%v: % x", err, frame)
	}
	return p, f
}

func TestARPAnnouncementAndProbe(t *testing.T) {
	p, f := readARP(t, announcement(us, vip4))
	if p.Operation != arp.OperationRequest || p.SenderIP != vip4 || p.TargetIP != vip4 ||
		f.Destination.String() != "ff:ff:ff:ff:ff:ff" || !bytes.Equal(p.SenderHardwareAddr, us[:]) {
		t.Errorf("announced by %+v", p)
	}
	p, _ = readARP(t, probeARP(us, vip4))
	if p.Operation != arp.OperationRequest || p.SenderIP != nobody4 || p.TargetIP != vip4 {
		t.Errorf("probed by %+v", p)
	}
}

func TestAnswersAllocateNothing(t *testing.T) {
	var buf [128]byte
	four, six := arpOf(arpAsk, client, host4, broadcast, vip4), solicitation(client, host6, vip6)
	n := testing.AllocsPerRun(100, func() {
		answerARP(ours, four, buf[:0])
		answerNDP(ours, six, buf[:0])
	})
	if n != 0 {
		t.Errorf("%v allocations for two answers", n)
	}
}

func BenchmarkAnswerARP(b *testing.B) {
	var buf [128]byte
	frame := arpOf(arpAsk, client, host4, broadcast, vip4)
	for b.Loop() {
		answerARP(ours, frame, buf[:0])
	}
}

func BenchmarkAnswerNDP(b *testing.B) {
	var buf [128]byte
	frame := solicitation(client, host6, vip6)
	for b.Loop() {
		answerNDP(ours, frame, buf[:0])
	}
}
