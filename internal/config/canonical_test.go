package config

import (
	"flag"
	"math/rand"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden files anew")

func mustParse(t *testing.T, doc string) *Config {
	t.Helper()
	c, err := Parse([]byte(doc))
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, doc)
	}
	return c
}

func diff(a, b *Config) string {
	return cmp.Diff(a, b, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}))
}

// golden compares with a file that -update writes.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs; run with -update if that is right:\n%s", file, d)
	}
}

func TestCanonicalText(t *testing.T) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/full.golden.yaml", mustParse(t, string(full)).YAML())
	golden(t, "testdata/defaults.golden.yaml", mustParse(t, peer).YAML())
}

func TestCanonicalTextIsAFixedPoint(t *testing.T) {
	for _, file := range []string{"testdata/full.yaml", "testdata/full.golden.yaml", "testdata/defaults.golden.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		wantRoundTrip(t, mustParse(t, string(data)))
	}
}

func TestRandomConfigurationsRoundTrip(t *testing.T) {
	for seed := range int64(500) {
		wantRoundTrip(t, randomConfig(rand.New(rand.NewSource(seed))))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func wantRoundTrip(t *testing.T, c *Config) {
	t.Helper()
	text := string(c.YAML())
	again := mustParse(t, text)
	if d := diff(c, again); d != "" {
		t.Errorf("read back differently:\n%s\n%s", d, text)
	}
	if got := string(again.YAML()); got != text {
		t.Errorf("written differently:\n%s", cmp.Diff(text, got))
	}
}

func TestHash(t *testing.T) {
	base := mustParse(t, peer)
	if h := base.Hash(); len(h) != 12 {
		t.Errorf("hash %q, want 12 characters", h)
	}
	for change, same := range map[string]bool{
		"# a comment\n" + peer:                                true,
		peer + "  port: 179\n":                                true,
		peer + "  holdTime: 1m30s\n":                          true,
		peer + "  port: 180\n":                                false,
		peer + "- {name: b, address: 10.0.0.2, asn: 64512}\n": false,
	} {
		if got := mustParse(t, change).Hash() == base.Hash(); got != same {
			t.Errorf("same hash: %v, want %v, for\n%s", got, same, change)
		}
	}
}

func TestDefaults(t *testing.T) {
	got := mustParse(t, peer)
	want := &Config{
		Pools: []Pool{{
			Name:       "public",
			Ranges:     []Range{{netip.MustParseAddr("192.0.2.0"), netip.MustParseAddr("192.0.2.255")}},
			AutoAssign: true,
			Quarantine: 5 * time.Minute,
			Weights:    true,
			FlowRescue: true,
			BGP:        true,
		}},
		Peers: []Peer{{
			Name:             "tor-a",
			Address:          netip.MustParseAddr("10.0.0.1"),
			Port:             179,
			ASN:              64512,
			HoldTime:         90 * time.Second,
			KeepaliveTime:    30 * time.Second,
			ConnectRetryTime: 2 * time.Second,
			RestartTime:      30 * time.Second,
			Weights:          EncodeLinkBandwidth | EncodeCommunity,
			LinkBandwidth:    Both,
			Community:        CommunityWeights{64513, 10000},
		}},
		BGP: BGP{ASN: 64513, ListenPort: 179, Weights: Weights{5 * time.Minute, 25, 2 * time.Minute, 30 * time.Second}},
		Nodes: Nodes{
			DrainTaint:      "heraldlb.io/drain",
			DrainAnnotation: "heraldlb.io/drain",
			DrainTime:       5 * time.Second,
			ForwardingGate:  true,
			Fuse:            Fuse{50, 30 * time.Second},
			StateMaxAge:     24 * time.Hour,
		},
		BFDProfiles: []BFDProfile{{"default", 300 * time.Millisecond, 300 * time.Millisecond, 3, false}},
	}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0s",
		90 * time.Second:        "1m30s",
		5 * time.Minute:         "5m",
		10 * time.Minute:        "10m",
		time.Hour:               "1h",
		10 * time.Hour:          "10h",
		90 * time.Minute:        "1h30m",
		time.Hour + 1e9:         "1h0m1s",
		1500 * time.Millisecond: "1.5s",
	} {
		if got := short(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if back, err := time.ParseDuration(short(d)); err != nil || back != d {
			t.Errorf("%s reads back as %v, %v", short(d), back, err)
		}
	}
}

func TestPoolsKeepTheirOrderAndRangesAreSorted(t *testing.T) {
	c := mustParse(t, head+`pools:
- {name: z, ranges: ["2001:db8::/64", 192.0.2.128/25, 198.51.100.0/24, 192.0.2.0/25]}
- {name: a, ranges: [203.0.113.0/24]}
`)
	var got []string
	for _, p := range c.Pools {
		got = append(got, p.Name)
		for _, r := range p.Ranges {
			got = append(got, r.String())
		}
	}
	want := []string{"z", "192.0.2.0/25", "192.0.2.128/25", "198.51.100.0/24", "2001:db8::/64", "a", "203.0.113.0/24"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
