package bgp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// The parts of an UPDATE, each as on the wire.
var (
	origin      = attribute(0x40, 1, 0)
	nextHopAttr = attribute(0x40, 3, 127, 0, 0, 9)
	good        = slices.Concat(origin, asPath(64666), nextHopAttr)
	prefix      = []byte{24, 203, 0, 113}
)

func attribute(flags, kind byte, value ...byte) []byte {
	return append([]byte{flags, kind, byte(len(value))}, value...)
}

func asPath(asn uint32) []byte {
	return attribute(0x40, 2, binary.BigEndian.AppendUint32([]byte{2, 1}, asn)...)
}

// update is an UPDATE of attributes, the last part being the NLRI.
func update(parts ...[]byte) []byte {
	attrs := slices.Concat(parts[:len(parts)-1]...)
	body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(attrs)))
	return message(2, slices.Concat(body, attrs, parts[len(parts)-1])...)
}

// reach is an MP_REACH_NLRI with a next hop and NLRI of any family.
func reach(afi uint16, safi byte, hop []byte, nlri ...byte) []byte {
	v := binary.BigEndian.AppendUint16(nil, afi)
	v = append(v, safi, byte(len(hop)))
	v = append(v, hop...)
	return attribute(0x80, 14, append(append(v, 0), nlri...)...)
}

// edited is a copy of a message with bytes replaced from an offset on.
func edited(m []byte, at int, b ...byte) []byte {
	m = slices.Clone(m)
	copy(m[at:], b)
	return m
}

var (
	hop4  = []byte{127, 0, 0, 9}
	hop6  = []byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}
	long  = slices.Repeat([]byte{0xff}, 200)
	zeros = make([]byte, 200)
)

// malformed are messages that no peer may send in an established session.
var malformed = []struct {
	name string
	b    []byte
}{
	// These three ended the process of gobgp v3.
	{"AS4_PATH before AS_PATH as the last attribute", update(origin, nextHopAttr, attribute(0xc0, 17, 2, 1, 0, 0, 0, 9), asPath(64666), prefix)},
	{"message of unknown type 9", message(9)},
	{"second OPEN", openMessage(64666, 90)},

	{"marker of zeros", edited(keepalive, 0, zeros[:16]...)},
	{"length 0", edited(keepalive, 16, 0, 0)},
	{"length 18", edited(keepalive, 16, 0, 18)},
	{"length 65535", edited(keepalive, 16, 0xff, 0xff)},
	{"length 4097 and as many bytes", message(2, make([]byte, 4097-19)...)},
	{"KEEPALIVE with a body", message(4, 1, 2, 3)},
	{"message of type 0", message(0)},
	{"UPDATE without a body", message(2)},
	{"withdrawn routes longer than the message", message(2, 0xff, 0xff, 0, 0)},
	{"attributes longer than the message", message(2, 0, 0, 0xff, 0xff)},
	{"withdrawn prefix of 33 bits", message(2, 0, 6, 33, 1, 2, 3, 4, 5, 0, 0)},
	{"NLRI of 255 bits", update(good, []byte{255, 1, 2, 3})},
	{"NLRI cut off", update(good, []byte{32, 203})},
	{"attribute cut off within its header", update([]byte{0x40}, prefix)},
	{"attribute of extended length cut off", update([]byte{0x50, 1, 0}, prefix)},
	{"attribute longer than the rest", update([]byte{0x40, 1, 200, 0}, prefix)},
	{"ORIGIN of no octets", update(attribute(0x40, 1), asPath(64666), nextHopAttr, prefix)},
	{"ORIGIN 77", update(attribute(0x40, 1, 77), asPath(64666), nextHopAttr, prefix)},
	{"ORIGIN with flags of an optional attribute", update(attribute(0xc0, 1, 0), asPath(64666), nextHopAttr, prefix)},
	{"AS_PATH with a segment of 255 AS and none there", update(origin, attribute(0x40, 2, 2, 255), nextHopAttr, prefix)},
	{"AS_PATH with a segment of unknown type", update(origin, attribute(0x40, 2, 9, 1, 0, 0, 0, 1), nextHopAttr, prefix)},
	{"AS_PATH of one octet", update(origin, attribute(0x40, 2, 2), nextHopAttr, prefix)},
	{"empty AS_PATH from outside", update(origin, attribute(0x40, 2), nextHopAttr, prefix)},
	{"NEXT_HOP of three octets", update(origin, asPath(64666), attribute(0x40, 3, 1, 2, 3), prefix)},
	{"NEXT_HOP 0.0.0.0", update(origin, asPath(64666), attribute(0x40, 3, 0, 0, 0, 0), prefix)},
	{"no mandatory attributes", update(prefix)},
	{"every attribute twice", update(good, good, prefix)},
	{"AGGREGATOR of one octet", update(good, attribute(0xc0, 7, 1), prefix)},
	{"AS4_AGGREGATOR of one octet, AGGREGATOR of eight", update(good, attribute(0xc0, 7, 0, 0, 0, 1, 1, 2, 3, 4), attribute(0xc0, 18, 1), prefix)},
	{"COMMUNITIES of three octets", update(good, attribute(0xc0, 8, 1, 2, 3), prefix)},
	{"extended communities of seven octets", update(good, attribute(0xc0, 16, 1, 2, 3, 4, 5, 6, 7), prefix)},
	{"extended communities of unknown and odd types", update(good, attribute(0xc0, 16, long[:64]...), prefix)},
	{"FlowSpec actions as communities", update(good, attribute(0xc0, 16, 0x80, 6, 0, 0, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0, 0, 0, 0, 0, 0), prefix)},
	{"large communities of eleven octets", update(good, attribute(0xc0, 32, zeros[:11]...), prefix)},
	{"IPv6 extended communities of three octets", update(good, attribute(0xc0, 25, 1, 2, 3), prefix)},
	{"ORIGINATOR_ID of two octets and CLUSTER_LIST of five", update(good, attribute(0x80, 9, 1, 2), attribute(0x80, 10, 1, 2, 3, 4, 5), prefix)},
	{"PMSI tunnel of one octet", update(good, attribute(0xc0, 22, 1), prefix)},
	{"tunnel encapsulation with lying lengths", update(good, attribute(0xc0, 23, 0, 15, 0xff, 0xff, 1, 255), prefix)},
	{"SR policy tunnel with lying lengths", update(good, attribute(0xc0, 23, 0, 15, 0, 9, 128, 0, 200, 0, 1, 200, 1, 1, 1), prefix)},
	{"AIGP with TLVs of length 0", update(good, attribute(0x80, 26, 1, 0, 0, 1, 0, 0), prefix)},
	{"prefix SID of SRv6 with lying lengths", update(good, attribute(0xc0, 40, 5, 0xff, 0xff, 0, 1, 0, 255, 0), prefix)},
	{"prefix SID of SRv6 cut off within a sub-TLV", update(good, attribute(0xc0, 40, 5, 0, 8, 0, 1, 0, 4, 0, 1, 2, 3), prefix)},
	{"ATTR_SET in itself", update(good, attribute(0xc0, 128, 0, 0, 0, 1, 0xc0, 128, 4, 0, 0, 0, 1), prefix)},
	{"MP_REACH of one octet", update(good, attribute(0x80, 14, 0), prefix)},
	{"MP_REACH with a next hop longer than itself", update(good, attribute(0x80, 14, 0, 2, 1, 255, 1, 2), prefix)},
	{"MP_REACH of IPv6 with a next hop of no octets", update(origin, asPath(64666), reach(2, 1, nil, 64, 1, 2, 3, 4, 5, 6, 7, 8), nil)},
	{"MP_REACH of IPv6 with a prefix of 200 bits", update(origin, asPath(64666), reach(2, 1, hop6, 200, 1), nil)},
	{"MP_REACH of a family nobody knows", update(origin, asPath(64666), reach(0x7777, 0x77, hop4, long[:40]...), nil)},
	{"MP_UNREACH of one octet", update(attribute(0x80, 15, 0), nil)},
	{"MP_UNREACH of a family nobody knows", update(attribute(0x80, 15, 0x77, 0x77, 0x77, 1, 2, 3), nil)},
	{"EVPN route of type 2 cut off", update(origin, asPath(64666), reach(25, 70, hop4, 2, 33, 0, 0, 0), nil)},
	{"EVPN route of type 2 with lying lengths", update(origin, asPath(64666), reach(25, 70, hop4, append([]byte{2, 33}, long[:33]...)...), nil)},
	{"EVPN route of type 5 with lying lengths", update(origin, asPath(64666), reach(25, 70, hop4, append([]byte{5, 34}, long[:34]...)...), nil)},
	{"EVPN route of unknown type and length 0", update(origin, asPath(64666), reach(25, 70, hop4, 99, 0), nil)},
	{"VPN prefix shorter than its own label", update(origin, asPath(64666), reach(1, 128, append(make([]byte, 8), hop4...), 8, 1), nil)},
	{"labelled prefix whose labels never end", update(origin, asPath(64666), reach(1, 4, hop4, append([]byte{255}, zeros[:60]...)...), nil)},
	{"FlowSpec longer than the attribute", update(origin, asPath(64666), reach(1, 133, nil, 0xf0, 0xff, 1, 24), nil)},
	{"FlowSpec operator without a value", update(origin, asPath(64666), reach(1, 133, nil, 2, 3, 0x81), nil)},
	{"FlowSpec prefix of 255 bits", update(origin, asPath(64666), reach(1, 133, nil, 3, 1, 255, 1), nil)},
	{"FlowSpec of IPv6 with an offset beyond its length", update(origin, asPath(64666), reach(2, 133, nil, 4, 1, 8, 255, 1), nil)},
	{"BGP-LS node with lying lengths", update(origin, asPath(64666), reach(16388, 71, hop4, 0, 1, 0, 12, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 255), nil)},
	{"BGP-LS prefix cut off", update(origin, asPath(64666), reach(16388, 71, hop4, 0, 3, 0, 3, 3, 0, 0), nil)},
	{"BGP-LS SRv6 SID with lying lengths", update(origin, asPath(64666), reach(16388, 71, hop4, 0, 6, 0, 13, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 6, 0, 16), nil)},
	{"BGP-LS attribute with lying lengths", update(good, attribute(0x80, 29, 4, 4, 0, 255, 1), prefix)},
	{"BGP-LS attribute with TLVs too short for their type", update(good, attribute(0x80, 29, 4, 10, 0, 1, 9, 4, 65, 0, 0, 4, 76, 0, 2, 1, 1), prefix)},
	{"route target membership of 255 bits", update(origin, asPath(64666), reach(1, 132, hop4, 255, 1, 2, 3), nil)},
	{"SR policy of no octets", update(origin, asPath(64666), reach(1, 73, hop4, 0), nil)},
	{"MUP route cut off", update(origin, asPath(64666), reach(1, 85, hop4, 1, 0, 3, 20, 1, 2), nil)},
	{"VPLS cut off", update(origin, asPath(64666), reach(25, 65, hop4, 0, 17, 1, 2, 3), nil)},
	{"NOTIFICATION without a body", message(3)},
	{"NOTIFICATION of unknown code with junk", message(3, append([]byte{99, 99}, long...)...)},
	{"shutdown communication longer than itself", message(3, 6, 2, 255, 'x')},
	{"shutdown communication that is not UTF-8", message(3, 6, 2, 3, 0xff, 0xfe, 0xfd)},
	{"ROUTE-REFRESH of one octet", message(5, 1)},
	{"ROUTE-REFRESH of a family nobody knows", message(5, 0x77, 0x77, 0, 0x77)},
	{"ROUTE-REFRESH with outbound filters of lying lengths", message(5, 0, 1, 0, 1, 1, 64, 255, 255)},
}

// junkOpens are OPENs that no session comes out of, or only a strange one.
var junkOpens = []struct {
	name string
	b    []byte
}{
	{"no body", message(1)},
	{"version 3", edited(openMessage(64666, 90), 19, 3)},
	{"parameters longer than the message", openWith(64666, 90, 255, 2, 6)},
	{"capability longer than its parameter", openWith(64666, 90, 4, 2, 2, 65, 200)},
	{"AS number of one octet", openWith(64666, 90, 5, 2, 3, 65, 1, 9)},
	{"multiprotocol of one octet", openWith(64666, 90, 5, 2, 3, 1, 1, 9)},
	{"graceful restart of one octet", openWith(64666, 90, 5, 2, 3, 64, 1, 9)},
	{"long-lived graceful restart of three octets", openWith(64666, 90, 7, 2, 5, 71, 3, 0, 1, 1)},
	{"ADD-PATH of two octets", openWith(64666, 90, 6, 2, 4, 69, 2, 0, 1)},
	{"extended next hop of three octets", openWith(64666, 90, 7, 2, 5, 5, 3, 0, 1, 0)},
	{"host name longer than itself", openWith(64666, 90, 6, 2, 4, 73, 2, 255, 65)},
	{"software version longer than itself", openWith(64666, 90, 6, 2, 4, 75, 2, 255, 65)},
	{"unknown parameter", openWith(64666, 90, 3, 77, 1, 1)},
	{"hold time 1", openMessage(64666, 1)},
	{"router ID 0.0.0.0", edited(openMessage(64666, 90), 24, 0, 0, 0, 0)},
	{"UPDATE in its place", update(good, prefix)},
	{"all ones in its place", long},
}

// victim is an announcer in a process of its own with one peer that is well
// behaved and many that are not.
type victim struct {
	*remote
	witness *wireRouter
	table   plan.Table
	weight  uint32
}

func newVictim(t *testing.T, subnet string, hostile []*wireRouter) *victim {
	v := &victim{witness: listen(t, subnet+".254", 64512)}
	sessions := []plan.Session{to("witness", v.witness, config.NonTransitive)}
	for i, r := range hostile {
		sessions = append(sessions, to(fmt.Sprintf("hostile%d", i), r, config.NonTransitive))
	}
	v.table = peersTable(64513, sessions, route("witness", "198.51.100.1/32 1"))
	for i := range hostile {
		v.table.Routes = append(v.table.Routes, route(fmt.Sprintf("hostile%d", i), "198.51.100.1/32 1"))
	}
	v.remote = startLoopback(t)
	v.lives(t, "at the start")
	return v
}

// lives checks that the announcer still announces to its good peer, over the
// session that it always had.
func (v *victim) lives(t *testing.T, when string) {
	t.Helper()
	v.weight++
	v.table.Routes[0].Weight = v.weight
	if a := v.apply(v.table); a.Healthy != "" {
		t.Fatalf("%s: %s", when, a.Healthy)
	}
	v.witness.wants(fmt.Sprintf("198.51.100.1/32 127.0.0.1 4004:64513:%d", v.weight))
	if sessions, _, withdrawals := v.witness.seen(); sessions != 1 || withdrawals != 0 {
		t.Fatalf("%s: the good peer had %d sessions and %d withdrawals", when, sessions, withdrawals)
	}
}

func TestHostilePeerHarmsNobody(t *testing.T) {
	t.Parallel()
	var hostile []*wireRouter
	for i := range malformed {
		hostile = append(hostile, listen(t, fmt.Sprintf("127.2.0.%d", i+1), 64666))
	}
	v := newVictim(t, "127.2.1", hostile)
	for _, r := range hostile {
		r.awaitSession(5 * time.Second)
	}
	closed := 0
	for i, m := range malformed {
		if err := hostile[i].send(m.b); err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		time.Sleep(20 * time.Millisecond)
		v.lives(t, "after "+m.name)
		if !hostile[i].established() {
			closed++
		}
	}
	t.Logf("%d malformed messages: %d closed their session, %d were overlooked or treated as withdrawals", len(malformed), closed, len(malformed)-closed)
	if len(malformed) < 28 || closed < 10 {
		t.Error("that is too few to mean anything")
	}
}

func TestHostileOpenHarmsNobody(t *testing.T) {
	t.Parallel()
	var hostile []*wireRouter
	for i, o := range junkOpens {
		hostile = append(hostile, listenWith(t, fmt.Sprintf("127.3.0.%d", i+1), 64666, o.b))
	}
	v := newVictim(t, "127.3.1", hostile)
	// Each is tried twice at least.
	for range 5 {
		time.Sleep(time.Second)
		v.lives(t, "with junk for OPEN")
	}
	for i, p := range v.peers() {
		if strings.HasPrefix(p.Name, "hostile") && p.LastError == "" && p.State != Established {
			t.Errorf("nothing is said about %s (%d)", p.Name, i)
		}
	}
}

// TestMutatedMessagesHarmNobody sends thousands of messages in which a few bytes
// are wrong. The seed is fixed: what fails once fails again.
func TestMutatedMessagesHarmNobody(t *testing.T) {
	t.Parallel()
	const sessions, each = 40, 200
	var hostile []*wireRouter
	for i := range sessions {
		hostile = append(hostile, listen(t, fmt.Sprintf("127.4.0.%d", i+1), 64666))
	}
	v := newVictim(t, "127.4.1", hostile)
	random := rand.New(rand.NewPCG(1, 2))
	sent := 0
	for i, r := range hostile {
		r.awaitSession(5 * time.Second)
		for range each {
			m := mutated(random)
			if r.send(m) != nil {
				break
			}
			sent++
		}
		v.lives(t, fmt.Sprintf("after %d messages, the last over session %d", sent, i))
	}
	t.Logf("%d mutated messages", sent)
}

// mutated is one of the malformed messages, or a good one, with up to three
// bytes changed behind the header.
func mutated(random *rand.Rand) []byte {
	m := update(good, prefix)
	if i := random.IntN(len(malformed) + 5); i < len(malformed) {
		m = slices.Clone(malformed[i].b)
	}
	if len(m) > 19 {
		for range random.IntN(3) + 1 {
			m[19+random.IntN(len(m)-19)] = byte(random.Uint32())
		}
	}
	// Framing that is right lets more messages through before the end.
	copy(m, keepalive[:16])
	binary.BigEndian.PutUint16(m[16:], uint16(len(m)))
	if m[18] != 5 {
		m[18] = 2
	}
	return m
}
