package l2

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/ndp"
)

func TestAnswerNDP(t *testing.T) {
	ns := solicitation(client, host6, vip6)
	dad := solicitation(client, nobody6, vip6)
	announced := na(stranger, vip6, allNodesMAC, allNodes, vip6, false)
	for _, c := range []struct {
		name  string
		frame []byte
		want  verdict
	}{
		{"a host asks the group", ns, replied()},
		{"a host sees whether we are still there", unicastNS(client, host6, us, vip6), replied()},
		{"without a link-layer option, as a unicast may be", with(unicastNS(client, host6, us, vip6), withOptions()), replied()},
		{"a host makes sure that it may have the address", dad, replied()},
		{"the same with a nonce", with(dad, withOptions(14, 1, 1, 2, 3, 4, 5, 6)), replied()},
		{"from a global address", solicitation(client, netip.MustParseAddr("2001:db8::99"), vip6), replied()},
		{"with padding behind it", with(ns, pad(6)), replied()},
		{"with an option that is not known", with(ns, withOptions(200, 1, 0, 0, 0, 0, 0, 0)), replied()},

		{"for another address", solicitation(client, host6, other6), verdict{}},
		{"our own probe comes back", solicitation(us, host6, vip6), verdict{}},
		{"our own announcement comes back", unsolicitedNA(us, vip6), verdict{}},
		{"an announcement of another address", na(client, other6, allNodesMAC, allNodes, other6, false), verdict{}},

		{"a stranger announces our address", announced, contested(vip6)},
		{"a stranger answers our probe", na(stranger, vip6, us, host6, vip6, true), contested(vip6)},
		{"a stranger answers without an option", with(announced, withOptions()), contested(vip6)},
		{"a stranger asks for it from it", solicitation(stranger, vip6, vip6), contested(vip6)},

		{"nothing at all", nil, broken()},
		{"cut within the IPv6 header", with(ns, cut(50)), broken()},
		{"cut within the target", with(ns, cut(70)), broken()},
		{"cut within the option", with(ns, cut(84)), broken()},
		{"tagged", with(ns, tagged), broken()},
		{"hop limit 254, so it came through a router", with(ns, set(offHopLimit, 254)), broken()},
		{"a bad checksum", with(ns, set(offChecksum, 0, 0)), broken()},
		{"changed behind the checksum", with(ns, set(offNDPTarget+15, 1)), broken()},
		{"IP version 4", with(ns, set(offIPv6, 0x40)), broken()},
		{"an extension header", with(ns, set(offNextHeader, 0)), broken()},
		{"a length shorter than the message", with(ns, set(offPayloadLen, 0, 23), summed), broken()},
		{"a length longer than the frame", with(ns, set(offPayloadLen, 0, 200)), broken()},
		{"code 1", with(ns, set(offICMP+1, 1), summed), broken()},
		{"a router solicitation", with(ns, set(offICMP, 133), summed), broken()},
		{"a group for a target", solicitation(client, host6, allNodes), broken()},
		{"a group for a source", with(ns, setIP(offSrcIP, allNodes), summed), broken()},
		{"an option of length 0", with(ns, withOptions(1, 0, 2, 0, 0, 0, 0, 9)), broken()},
		{"an option longer than the message", with(ns, withOptions(1, 2, 2, 0, 0, 0, 0, 9)), broken()},
		{"half an option", with(ns, withOptions(1, 1, 2, 0)), broken()},
		{"a link-layer option of 16 bytes", with(ns, withOptions(append([]byte{1, 2}, make([]byte, 14)...)...)), broken()},
		{"a link-layer option that names a group", with(ns, withOptions(1, 1, 0x33, 0x33, 0, 0, 0, 1)), broken()},
		{"a link-layer option in duplicate address detection", with(dad, withOptions(1, 1, 2, 0, 0, 0, 0, 9)), broken()},
		{"duplicate address detection to a host", with(dad, setIP(offDstIP, vip6), summed), broken()},
		{"to a host that is not the target", with(ns, setIP(offDstIP, other6), summed), broken()},
		{"a solicited advertisement to all", na(stranger, vip6, allNodesMAC, allNodes, vip6, true), broken()},
		{"an advertisement from nobody", na(stranger, nobody6, allNodesMAC, allNodes, vip6, false), broken()},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := bytes.Clone(c.frame)
			got := answerNDP(ours, c.frame, nil)
			if !bytes.Equal(c.frame, before) {
				t.Error("the frame was changed")
			}
			compare(t, got, c.want)
			if got.reply != nil {
				checkNA(t, ours, c.frame, got.reply)
			}
		})
	}
}

// checkNA reads an answer by the library's eyes. It must also be such as we
// would take from others.
func checkNA(t *testing.T, tb *table, question, reply []byte) {
	t.Helper()
	if n, ok := parseNDP(reply); !ok || n.kind != advertise {
		t.Fatalf("not a valid advertisement: % x", reply)
	}
	f, m, err := message(reply)
	if err != nil {
		t.Fatalf("%v: % x", err, reply)
	}
	a := m.(*ndp.NeighborAdvertisement)
	asker := [16]byte(question[offSrcIP:])
	dad := netip.AddrFrom16(asker).IsUnspecified()
	to, dst := netip.AddrFrom16([16]byte(reply[offDstIP:])), mac(f.Destination)
	if dad && (to != allNodes || dst != allNodesMAC || a.Solicited) {
		t.Errorf("duplicate address detection is answered to %v %v, solicited %v", to, dst, a.Solicited)
	}
	if !dad && (to != netip.AddrFrom16(asker) || !dst.station() || !a.Solicited) {
		t.Errorf("%v is answered at %v %v, solicited %v", netip.AddrFrom16(asker), to, dst, a.Solicited)
	}
	target := netip.AddrFrom16([16]byte(question[offNDPTarget:]))
	if a.TargetAddress != target || netip.AddrFrom16([16]byte(reply[offSrcIP:])) != target || !a.Override || a.Router {
		t.Errorf("asked for %v, got %+v", target, a)
	}
	if len(a.Options) != 1 || !bytes.Equal(a.Options[0].(*ndp.LinkLayerAddress).Addr, tb.mac[:]) {
		t.Errorf("options %+v", a.Options)
	}
}

func TestNDPAnnouncementAndProbes(t *testing.T) {
	f, m, err := message(announcement(us, vip6))
	if err != nil {
		t.Fatal(err)
	}
	a := m.(*ndp.NeighborAdvertisement)
	if !a.Override || a.Solicited || a.TargetAddress != vip6 || mac(f.Destination) != allNodesMAC || len(a.Options) != 1 {
		t.Errorf("announced by %+v to %v", a, f.Destination)
	}
	for name, src := range map[string]netip.Addr{"from the link": host6, "from nobody": nobody6} {
		frame := probeNDP(us, src, vip6)
		if n, ok := parseNDP(frame); !ok || n.kind != solicit || n.dst != solicitedNode(vip6.As16()) {
			t.Errorf("a probe %s is not valid: % x", name, frame)
		}
	}
	want, err := ndp.SolicitedNodeMulticast(vip6)
	if got := netip.AddrFrom16(solicitedNode(vip6.As16())); err != nil || got != want {
		t.Errorf("group %v, want %v", got, want)
	}
}
