package bgp

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

func TestNextHops(t *testing.T) {
	addr := netip.MustParseAddr
	own := plan.NextHops{IPv4: addr("10.0.0.1"), IPv6: addr("fd00::1")}
	for _, tc := range []struct {
		what, peer, prefix string
		own                plan.NextHops
		want               netip.Addr
	}{
		{"IPv4 over IPv4 has the session's address", "10.0.0.9", "192.0.2.1", own, netip.IPv4Unspecified()},
		{"IPv6 over IPv6 has the session's address", "fd00::9", "2001:db8::1", own, netip.IPv6Unspecified()},
		{"IPv6 over IPv4 has the node's address", "10.0.0.9", "2001:db8::1", own, addr("fd00::1")},
		{"IPv4 over IPv6 has the node's address", "fd00::9", "192.0.2.1", own, addr("10.0.0.1")},
		{"IPv4 over a link-local session has the session's address", "fe80::9%eth0", "192.0.2.1", own, netip.IPv4Unspecified()},
		{"IPv6 over a link-local session has the session's address", "fe80::9%eth0", "2001:db8::1", own, netip.IPv6Unspecified()},
		{"IPv6 over IPv4 has none on a node without IPv6", "10.0.0.9", "2001:db8::1", plan.NextHops{IPv4: own.IPv4}, netip.Addr{}},
		{"IPv4 over IPv6 has none on a node without IPv4", "fd00::9", "192.0.2.1", plan.NextHops{IPv6: own.IPv6}, netip.Addr{}},
	} {
		if got := nextHop(plan.Session{Address: addr(tc.peer)}, addr(tc.prefix), tc.own); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.what, got, tc.want)
		}
	}
}

func TestFaultsOfATableAreNamedAndTheRestIsKept(t *testing.T) {
	a, b := tor("a", "10.0.0.9", 64512, ""), tor("b", "10.0.0.10", 64512, "")
	twin := tor("twin", "::ffff:10.0.0.9", 64512, "")
	id := netip.MustParseAddr("10.0.0.1")
	hops := plan.NextHops{IPv4: id}
	for what, tc := range map[string]struct {
		table plan.Table
		want  string // session*routes, then the errors
	}{
		"nothing at all": {plan.Table{}, ""},
		"two peers with one address": {
			plan.Table{RouterID: id, Sessions: []plan.Session{a, b, twin}, Routes: []plan.Route{route("a", "192.0.2.1/32 1")}},
			"a*1 b*0 peer twin: has the address of peer a",
		},
		"routes for a peer that is not there": {
			plan.Table{RouterID: id, Sessions: []plan.Session{b}, Routes: []plan.Route{
				route("a", "192.0.2.1/32 1"), route("a", "192.0.2.2/32 1"), route("b", "192.0.2.1/32 1"),
			}},
			"b*1 peer a: has routes but no session",
		},
		"no next hop for some": {
			plan.Table{RouterID: id, NextHops: hops, Sessions: []plan.Session{a}, Routes: []plan.Route{
				route("a", "192.0.2.1/32 1"), route("a", "2001:db8::1/128 1"), route("a", "2001:db8::2/128 1"),
			}},
			"a*1 (2 IPv6 routes not announced: this node has no IPv6 address to be their next hop)",
		},
	} {
		want, err := desired(tc.table)
		var got []string
		for _, s := range sorted(want) {
			got = append(got, fmt.Sprintf("%s*%d", s.Name, len(s.routes)))
			if s.withheld != "" {
				got = append(got, "("+s.withheld+")")
			}
		}
		if err != nil {
			got = append(got, err.Error())
		}
		if line := strings.Join(got, " "); line != tc.want {
			t.Errorf("%s: got %q, want %q", what, line, tc.want)
		}
	}
}

// Before the first session there must be a router ID, and there is none without
// the Node.
func TestANodeThatTheClusterLacksIsNamed(t *testing.T) {
	s := newSpeaker(Options{Log: slog.New(slog.DiscardHandler)}, &calls{}, newStatus(slog.New(slog.DiscardHandler)))
	err := s.apply(plan.Table{Self: "n9", ASN: 64513, Sessions: []plan.Session{tor("a", "10.0.0.9", 64512, "")}})
	if err == nil || !strings.Contains(err.Error(), `no Node "n9"`) {
		t.Errorf("got %v", err)
	}
}

func TestTableWithoutIdentityIsRefused(t *testing.T) {
	sessions := []plan.Session{tor("a", "10.0.0.9", 64512, "")}
	for _, tc := range []struct {
		what  string
		table plan.Table
		want  string
	}{
		{"no sessions need none", plan.Table{}, ""},
		{"no AS number", plan.Table{RouterID: netip.MustParseAddr("10.0.0.1"), Sessions: sessions}, "no AS number"},
	} {
		err := check(tc.table)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.what, err, tc.want)
		}
	}
}

func TestOnlyTransportRestartsASession(t *testing.T) {
	a := tor("a", "10.0.0.9", 64512, config.NonTransitive)
	b := a
	b.LinkBandwidth = config.Transitive
	if transport(a) != transport(b) {
		t.Error("another form of the community restarts the session")
	}
	b = a
	b.Port++
	if transport(a) == transport(b) {
		t.Error("another port does not restart the session")
	}
}

func TestLinkBandwidthOnTheWire(t *testing.T) {
	for _, tc := range []struct {
		weight uint32
		form   config.LinkBandwidthForm
		asn    uint32
		want   string
	}{
		{1, config.NonTransitive, 64513, "4004fc013f800000"},
		{3, config.Transitive, 64513, "0004fc0140400000"},
		{200, config.NonTransitive, 65535, "4004ffff43480000"},
		{4, config.NonTransitive, 65536, "40045ba040800000"}, // 23456
		{4, config.Transitive, 4200000001, "00045ba040800000"},
		{3, config.Both, 64513, "0004fc0140400000 4004fc0140400000"},
		{3, "", 64513, "0004fc0140400000 4004fc0140400000"},
	} {
		var forms []string
		for _, c := range linkBandwidth(attributes{weight: tc.weight, bandwidth: tc.form, asn: tc.asn}) {
			b, err := c.Serialize()
			if err != nil {
				t.Fatal(err)
			}
			forms = append(forms, fmt.Sprintf("%x", b))
		}
		if got := strings.Join(forms, " "); got != tc.want {
			t.Errorf("weight %d, %s, AS %d: got %s, want %s", tc.weight, tc.form, tc.asn, got, tc.want)
		}
	}
}
