package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// weightFilter is an import filter that takes part of what a community can tell.
const weightFilter = `import filter {
	for pair c in bgp_community do { if c.asn = 64512 then weight = c.data - 100; }
	accept;
};`

// birdOfThree is a BIRD with three neighbors of another AS.
func birdOfThree(channel string) string { return birdOf(channel, 64513) }

func birdOf(channel string, asn uint32) string {
	conf := strings.Builder{}
	conf.WriteString(`
router id 10.8.0.1;
protocol device {}
protocol kernel k4 { merge paths on limit 32; ipv4 { import none; export all; }; }
protocol kernel k6 { merge paths on limit 32; ipv6 { import none; export all; }; }
`)
	for i := 1; i <= 3; i++ {
		fmt.Fprintf(&conf, "protocol bgp n%d { local as 64512; neighbor 10.8.0.%d as %d; hold time 3; connect retry time 1;\n"+
			" ipv4 { %s export none; }; ipv6 { %s export none; }; }\n", i, 10+i, asn, channel, channel)
	}
	return conf.String()
}

// TestEncodings has three nodes with weights 1, 3 and 4. Node i has n aliases for
// weight n: 10.8.0.(10*i) and up.
func TestEncodings(t *testing.T) {
	const (
		alone = "10.8.0.11*1 10.8.0.12*1 10.8.0.13*1"
		exact = "10.8.0.11*1 10.8.0.12*3 10.8.0.13*4"
		paths = "10.8.0.110*1 10.8.0.120*1 10.8.0.121*1 10.8.0.122*1 10.8.0.130*1 10.8.0.131*1 10.8.0.132*1 10.8.0.133*1"
	)
	three := bgpd(64513, "10.8.0.11", "10.8.0.12", "10.8.0.13")
	for _, tc := range []struct {
		name     string
		frr      string // else bird
		bird     string
		encoding config.Encodings
		want     string // of IPv4; IPv6 is alike
		withheld string
	}{
		{"none on FRR", three, "", config.EncodeNone, alone, ""},
		{"community on BIRD with the filter", "", birdOfThree(weightFilter), config.EncodeCommunity, exact, ""},
		{"community on BIRD without the filter", "", birdOfThree("import all;"), config.EncodeCommunity, alone, ""},
		{"paths on FRR", three, "", config.EncodeAddPath, paths, ""},
		{"paths on BIRD", "", birdOfThree("add paths rx; import all;"), config.EncodeAddPath, paths, ""},
		{"paths on BIRD without ADD-PATH", "", birdOfThree("import all;"), config.EncodeAddPath, "10.8.0.110*1 10.8.0.120*1 10.8.0.130*1", "the peer does not take ADD-PATH"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 3)
			if tc.frr != "" {
				r.router.FRR(tc.frr)
			} else {
				r.router.BIRD(tc.bird)
			}
			v6 := strings.NewReplacer("10.8.0.", "fd08::").Replace(tc.want)
			for i, w := range []int{1, 3, 4} {
				n := startAnnouncer(t, r.nodes[i])
				n.apply(weighted(i+1, tc.encoding, w))
				defer func() {
					if p := n.peer("tor"); !strings.Contains(p.Withheld, tc.withheld) || (p.Withheld == "") != (tc.withheld == "") {
						t.Errorf("withheld is %q, want %q", p.Withheld, tc.withheld)
					}
				}()
			}
			wantFIB(t, 20*time.Second, r.router, "198.51.100.10", tc.want)
			wantFIB(t, 10*time.Second, r.router, "2001:db8:5::10", v6)
		})
	}
}

// weighted announces two routes with a weight from node i.
func weighted(i int, encoding config.Encodings, weight int) plan.Table {
	s := tor("tor", "10.8.0.1", 64512, config.NonTransitive)
	s.Weights, s.Community = encoding, config.CommunityWeights{ASN: 64512, Base: 100}
	tab := table(i, 64513, []plan.Session{s}, fmt.Sprintf("198.51.100.10/32 %d", weight), fmt.Sprintf("2001:db8:5::10/128 %d", weight))
	if encoding != config.EncodeAddPath {
		return tab
	}
	tab.Sessions[0].Paths = 64
	for k := range weight {
		tab.Routes[0].NextHops = append(tab.Routes[0].NextHops, netip.MustParseAddr(fmt.Sprintf("10.8.0.1%d%d", i, k)))
		tab.Routes[1].NextHops = append(tab.Routes[1].NextHops, netip.MustParseAddr(fmt.Sprintf("fd08::1%d%d", i, k)))
	}
	return tab
}

// TestPathsComeAndGo changes the number of paths, and restarts.
func TestPathsComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	r.router.FRR(bgpd(64513, "10.8.0.11"))
	n := startAnnouncer(t, r.nodes[0])
	for _, tc := range []struct {
		weight int
		want   string
	}{
		{3, "10.8.0.110*1 10.8.0.111*1 10.8.0.112*1"},
		{1, "10.8.0.110"},
		{4, "10.8.0.110*1 10.8.0.111*1 10.8.0.112*1 10.8.0.113*1"},
		{2, "10.8.0.110*1 10.8.0.111*1"},
	} {
		n.apply(weighted(1, config.EncodeAddPath, tc.weight))
		wantFIB(t, 10*time.Second, r.router, "198.51.100.10", tc.want)
	}
	if p := n.peer("tor"); !p.AddPath || p.Restarts || p.Routes != 2 {
		t.Errorf("%+v", p)
	}
	// A drain changes all paths of the prefix, and the end of it, too.
	tab := weighted(1, config.EncodeAddPath, 2)
	tab.Routes[0].Draining = true
	n.apply(tab)
	netlab.Always(t, time.Second, func() string {
		if got := fib(r.router, "198.51.100.10"); got != "10.8.0.110*1 10.8.0.111*1" {
			return got
		}
		return ""
	})
	// FRR 8 would keep stale paths for ever, so none may become stale.
	n.stop()
	wantFIB(t, 5*time.Second, r.router, "198.51.100.10", "")
	again := startAnnouncer(t, r.nodes[0])
	again.apply(weighted(1, config.EncodeAddPath, 2))
	wantFIB(t, 10*time.Second, r.router, "198.51.100.10", "10.8.0.110*1 10.8.0.111*1")
	again.apply(table(1, 64513, slices.Clone(weighted(1, config.EncodeAddPath, 2).Sessions)))
	wantFIB(t, 5*time.Second, r.router, "198.51.100.10", "")
}
