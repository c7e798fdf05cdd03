package router

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

const head = "apiVersion: heraldlb.io/v1\npools: [{name: public, ranges: [198.51.100.0/24, '2001:db8:5::/112']}]\n"

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return c
}

// TestSections compares what is printed with testdata. speaker/bgp loads the like
// into the real routers.
func TestSections(t *testing.T) {
	nodes := Options{Nodes: []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.12")}}
	for name, tc := range map[string]struct {
		conf string
		o    Options
	}{
		"plain": {head + "peers: [{name: tor-a, address: 10.0.0.1, asn: 64512}]\nbgp: {asn: 64513}\n", Options{}},
		"internal": {head + "peers: [{name: tor-a, address: 'fd00::1', asn: 64513, weights: none}]\nbgp: {asn: 64513}\n", Options{
			Ranges: []netip.Prefix{netip.MustParsePrefix("fd00:0:0:1::/64"), netip.MustParsePrefix("fd00:0:0:2::/64")},
		}},
		"passive": {head + "peers: [{name: tor-a, address: 10.0.0.1, asn: 64512, passive: true, bfdProfile: default, passwordKey: tor}]\nbgp: {asn: 64513, listenPort: 1179}\n", nodes},
		"far":     {head + "peers: [{name: tor-a, address: 10.0.0.1, asn: 64512, port: 1179, ttlSecurity: 3, linkBandwidth: nonTransitive}]\nbgp: {asn: 64513}\n", nodes},
		"wide": {`apiVersion: heraldlb.io/v1
pools:
- {name: odd, ranges: [198.51.100.10-198.51.100.20]}
- {name: joined, ranges: [203.0.113.0/25, 203.0.113.128/25]}
- {name: other, ranges: [192.0.2.0/24]}
- {name: l2, ranges: [10.1.0.0/24], announce: [l2]}
peers:
- {name: tor-a, address: 10.0.0.1, asn: external, weights: addPath, addPath: {prefixes: [10.0.1.0/24], width: 300}, ebgpMultihop: 3}
- {name: tor-b, address: 10.0.0.2, asn: 64512}
advertisements:
- {pools: [joined], aggregationLength: 24}
- {pools: [odd, joined]}
- {pools: [other], peers: [tor-b]}
bgp: {asn: 64513, overrides: [{nodeSelector: {matchLabels: {rack: b}}, asn: 4200000001}]}
`, Options{Peer: "tor-a", ASN: 64999}},
		"racks": {head + `bgp: {asn: 64513}
peers:
- name: tor
  address: 10.0.0.1
  asn: 64512
  weights: community
  overrides:
  - {nodeSelector: {matchLabels: {rack: b}}, address: 10.1.0.1, weights: [linkBandwidth, community], community: "64512:100"}
  - {nodeSelector: {matchLabels: {rack: c}}, holdTime: 9s}
`, Options{}},
	} {
		for _, kind := range Kinds() {
			t.Run(name+" "+kind, func(t *testing.T) {
				sections, err := Write(kind, parse(t, tc.conf), tc.o)
				if err != nil {
					t.Fatal(err)
				}
				var got strings.Builder
				for _, s := range sections {
					got.WriteString("-- " + s.Peer + " --\n" + s.Text)
					for _, n := range s.Notes {
						if !strings.Contains(s.Text, n) {
							t.Errorf("the text lacks the note: %s", n)
						}
					}
				}
				golden(t, filepath.Join("testdata", name+"."+kind), got.String())
			})
		}
	}
}

// The documents show what is printed.
func TestDocumentedSections(t *testing.T) {
	for file, kind := range map[string]string{"../../docs/configuration.md": "BIRD", "../../docs/routers.md": "FRR"} {
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		printed, err := os.ReadFile(filepath.Join("testdata", "plain."+kind))
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(printed), "\n") // without the name of the section
		if !strings.Contains(string(doc), "```\n"+text+"```\n") {
			t.Errorf("%s does not show what is printed:\n%s", file, text)
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs; run with -update if that is right:\n%s", file, d)
	}
}

func TestNotes(t *testing.T) {
	for _, tc := range []struct{ kind, peer, want string }{
		{"FRR", "weights: linkBandwidth", ""},
		{"FRR", "weights: [linkBandwidth, community]", ""},
		{"FRR", "weights: addPath, addPath: {prefixes: [10.0.1.0/24]}", ""},
		{"FRR", "weights: none", "Peer tor gets no weights (weights: none), so all nodes get the same share."},
		{"FRR", "weights: community", "FRR takes weights from the link bandwidth, and peer tor gets community alone, so all nodes get the same share: add linkBandwidth to its weights, or leave them out."},
		{"FRR", "linkBandwidth: nonTransitive", "FRR 10.3 ignores the form nonTransitive; leave linkBandwidth out, and it gets both."},
		{"FRR", "linkBandwidth: transitive", ""},
		{"FRR", "bfdProfile: default", ""},
		{"FRR", "bfdProfile: wait}]\nbfdProfiles: [{name: wait, strict: true}]\npeers: [{name: tor, address: 10.0.0.1, asn: 64512, bfdProfile: wait", "FRR begins with BFD when a node of a range connects, and Herald waits for BFD first, as the profile wait of peer tor is strict, so no session comes up: name each node with --nodes, or leave strict out."},
		{"bird", "bfdProfile: wait}]\nbfdProfiles: [{name: wait, strict: true}]\npeers: [{name: tor, address: 10.0.0.1, asn: 64512, bfdProfile: wait", ""},
		{"bird", "port: 179", ""},
		{"bird", "weights: community", ""},
		{"bird", "weights: addPath, addPath: {prefixes: [10.0.1.0/24]}", ""},
		{"bird", "weights: none", "Peer tor gets no weights (weights: none), so all nodes get the same share."},
		{"bird", "weights: linkBandwidth", "BIRD takes weights from a community, and peer tor gets linkBandwidth alone, so all nodes get the same share: write weights: [linkBandwidth, community] and a community, such as 64512:10000."},
		{"bird", "localASN: 4200000000", "BIRD takes weights from a community, and peer tor gets linkBandwidth alone, so all nodes get the same share: write weights: [linkBandwidth, community] and a community, such as 64512:10000."},
		{"bird", "weights: community}]\nadvertisements: [{peers: [other]}]\npeers: [{name: other, address: 10.0.0.9, asn: 1}, {name: tor, address: 10.0.0.1, asn: 64512", "Nothing is announced to this peer: no pool and advertisement is for it."},
	} {
		text := head + "bgp: {asn: 64513}\npeers: [{name: tor, address: 10.0.0.1, asn: 64512, " + tc.peer + "}]\n"
		if strings.Contains(tc.peer, "peers: [{") {
			_, tc.peer, _ = strings.Cut(tc.peer, "\n")
			text = head + "bgp: {asn: 64513}\n" + tc.peer + "}]\n"
		}
		sections, err := Write(tc.kind, parse(t, text), Options{Peer: "tor", Ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(sections[0].Notes, "\n"); got != tc.want {
			t.Errorf("%s for %q:\ngot  %s\nwant %s", tc.kind, tc.peer, got, tc.want)
		}
	}
}

func TestWhatTheConfigurationDoesNotTell(t *testing.T) {
	some := Options{Ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}
	one := Options{Nodes: []netip.Addr{netip.MustParseAddr("10.0.0.11")}}
	with := func(o Options, change func(*Options)) Options { change(&o); return o }
	for _, tc := range []struct {
		peers string
		o     Options
		want  string
	}{
		{"{name: a, asn: 1, addressFrom: {defaultGateway: IPv4}}", Options{}, "peer a: the configuration does not tell where its nodes are; add --nodes, such as --nodes 10.0.0.0/24"},
		{"{name: a, asn: 1, addressFrom: {defaultGateway: IPv4}}", some, ""},
		{"{name: a, asn: 1, addressRange: 10.0.9.0/28}", some, "peer a: it is passive, so the router opens the sessions and must know each node; add their addresses, such as --nodes 10.0.0.11,10.0.0.12"},
		{"{name: a, asn: 1, address: 10.0.0.1, passive: true}", Options{}, "peer a: it is passive, so the router opens the sessions and must know each node; add their addresses, such as --nodes 10.0.0.11,10.0.0.12"},
		{"{name: a, asn: 1, address: 10.0.0.1, passive: true}", one, ""},
		{"{name: a, asn: external, address: 10.0.0.1}", Options{}, "peer a: the configuration does not say the router's AS number; add --asn"},
		{"{name: a, asnFrom: {nodeLabel: as}, address: 10.0.0.1}", Options{}, "peer a: the configuration does not say the router's AS number; add --asn"},
		{"{name: a, asnFrom: {nodeLabel: as}, address: 10.0.0.1}", with(some, func(o *Options) { o.ASN = 5 }), ""},
		{"{name: a, asn: 1, address: 10.0.0.1}", with(some, func(o *Options) { o.ASN = 5 }), "peer a: its AS number is 1, not 5; leave --asn out, or choose another peer by --peer"},
		{"{name: a, asn: 1, interface: eth0}", some, "peer a: the session is between link-local addresses, so what the router needs depends on its ports: see docs/configuration.md, interface"},
		{"{name: a, asn: 1, interface: eth0, address: 'fe80::1'}", some, "peer a: the session is between link-local addresses, so what the router needs depends on its ports: see docs/configuration.md, interface"},
		{"{name: a, asn: 64513, address: 10.0.0.1}", some, "peer a: sessions with it are internal on some nodes and external on others, as bgp.overrides say; write a peer for each"},
		{"{name: a, asn: 1, address: 10.0.0.1}, {name: b, asn: 1, address: 10.0.0.2}", with(some, func(o *Options) { o.Peer = "c" }), "there is no peer c; there are a, b"},
		{"", some, "the configuration has no peers"},
	} {
		c := parse(t, head+"bgp: {asn: 64513, overrides: [{nodeSelector: {matchLabels: {rack: b}}, asn: 64600}]}\npeers: ["+tc.peers+"]\n")
		_, err := Write("FRR", c, tc.o)
		got := ""
		if missing, ok := errors.AsType[Error](err); ok {
			got = missing.Error()
		} else if err != nil {
			t.Errorf("%s: error of type %T: %v", tc.peers, err, err)
		}
		if got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.peers, got, tc.want)
		}
	}
	if _, err := Write("IOS", parse(t, head), some); !errors.Is(err, ErrUnknownKind) || err.Error() != `"IOS": unknown kind of router; write BIRD or FRR` {
		t.Errorf("of an unknown kind: %v", err)
	}
}
