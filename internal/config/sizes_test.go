package config

import (
	"fmt"
	"math"
	"math/rand"
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/cluster"
)

func TestRangeSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"192.0.2.7/32":                                 1,
		"192.0.2.0/24":                                 256,
		"192.0.2.10-192.0.2.20":                        11,
		"0.0.0.0-255.255.255.255":                      1 << 32,
		"2001:db8::/112":                               65536,
		"2001:db8::ffff:ffff:ffff:ffff/128":            1,
		"2001:db8::-2001:db8::ffff:ffff:ffff:fffd":     math.MaxUint64 - 1,
		"2001:db8::/65":                                1 << 63,
		"2001:db8::/64":                                math.MaxUint64,
		"2001:db8::-2001:db8::ffff:ffff:ffff:fffe":     math.MaxUint64,
		"2001:db8::-2001:db8:0:1::":                    math.MaxUint64,
		"2001:db8::ffff:ffff:ffff:ffff-2001:db8:0:1::": 2,
		"2001:db8::/32":                                math.MaxUint64,
	} {
		r, problem := parseRange(text)
		if problem != "" {
			t.Errorf("%s: %s", text, problem)
		}
		if got := r.Size(); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}

// Small pools are counted by visiting them, which checks Size, Addrs, Usable and
// Contains against each other.
func TestPoolSizeIsWhatCanBeVisited(t *testing.T) {
	for ranges, want := range map[string][2]uint64{
		"192.0.2.0/24":                     {256, 254},
		"192.0.2.1-192.0.2.254":            {254, 254},
		"192.0.2.0/32":                     {1, 0},
		"192.0.2.255/32":                   {1, 0},
		"192.0.2.255-192.0.3.0":            {2, 0},
		"192.0.2.5-192.0.4.0, 10.0.0.0/16": {508 + 65536, 508 - 4 + 65536 - 512},
		"192.0.2.0/31, '2001:db8::/120'":   {2, 1},
		"'2001:db8::/120'":                 {0, 0},
	} {
		c := mustParse(t, head+"pools: [{name: a, ranges: ["+ranges+"]}]")
		for i, avoid := range []bool{false, true} {
			p := c.Pools[0]
			p.AvoidBuggyIPs = avoid
			if got := p.Size(cluster.IPv4); got != want[i] {
				t.Errorf("%s, avoid %v: size %d, want %d", ranges, avoid, got, want[i])
			}
			if got := visit(t, p, cluster.IPv4); got != want[i] {
				t.Errorf("%s, avoid %v: visited %d, want %d", ranges, avoid, got, want[i])
			}
		}
	}
}

// Addresses that are kept back for two reasons count once.
func TestPoolSizeWithoutWhatIsReserved(t *testing.T) {
	for _, tt := range []struct {
		ranges, reserved string
		f                cluster.Family
		want, avoid      uint64 // avoid: with avoidBuggyIPs and at layer 2
	}{
		{"192.0.2.0/24", "192.0.2.0/30", cluster.IPv4, 252, 251},
		{"192.0.2.0/24, 192.0.3.0/24", "192.0.3.255/32, 192.0.3.8/31", cluster.IPv4, 509, 506},
		{"192.0.2.0/24", "192.0.2.0/24", cluster.IPv4, 0, 0},
		{"'2001:db8::/120'", "'2001:db8::/128'", cluster.IPv6, 255, 255},
		{"'2001:db8::/120'", "'2001:db8::8/125'", cluster.IPv6, 248, 247},
		{"'2001:db8::ffff:ffff:ffff:fff0-2001:db8:0:1::f'", "'2001:db8:0:1::/127'", cluster.IPv6, 30, 30},
	} {
		c := mustParse(t, head+"pools: [{name: a, ranges: ["+tt.ranges+"], reserved: ["+tt.reserved+"]}]")
		for i, want := range []uint64{tt.want, tt.avoid} {
			p := c.Pools[0]
			p.AvoidBuggyIPs, p.L2 = i == 1, i == 1
			if size, visited := p.Size(tt.f), visit(t, p, tt.f); size != want || visited != want {
				t.Errorf("%s without %s, avoid %v: size %d, visited %d, want %d", tt.ranges, tt.reserved, i == 1, size, visited, want)
			}
		}
	}
}

func visit(t *testing.T, p Pool, f cluster.Family) (n uint64) {
	t.Helper()
	last := netip.Addr{}
	for a := range p.Addrs(f) {
		if !p.Usable(a) || !p.Contains(a) || !last.Less(a) {
			t.Errorf("%s comes after %s; usable: %v", a, last, p.Usable(a))
		}
		last = a
		n++
	}
	return n
}

func TestPoolSizeSaturates(t *testing.T) {
	c := mustParse(t, head+"pools: [{name: a, avoidBuggyIPs: true, ranges: ['2001:db8::/65', '2001:db8:1::/65', '2001:db8:2::/128', 192.0.2.0/24]}]")
	if got := c.Pools[0].Size(cluster.IPv6); got != math.MaxUint64 {
		t.Errorf("got %d", got)
	}
	if got := c.Pools[0].Size(cluster.IPv4); got != 254 {
		t.Errorf("got %d", got)
	}
}

func TestAddrsStopsEarly(t *testing.T) {
	p := mustParse(t, head+"pools: [{name: a, ranges: ['2001:db8::/32']}]").Pools[0]
	var got []string
	for a := range p.Addrs(cluster.IPv6) {
		if got = append(got, a.String()); len(got) == 2 {
			break
		}
	}
	if len(got) != 2 || got[0] != "2001:db8::" || got[1] != "2001:db8::1" {
		t.Errorf("got %v", got)
	}
}

func TestPoolOf(t *testing.T) {
	c := mustParse(t, head+`pools:
- {name: a, ranges: [192.0.2.0/25, '2001:db8::/64']}
- {name: b, ranges: [192.0.2.128/25]}
`)
	for addr, want := range map[string]string{
		"192.0.2.0": "a", "192.0.2.127": "a", "192.0.2.128": "b", "192.0.2.255": "b", "192.0.3.0": "",
		"2001:db8::ffff": "a", "2001:db8:0:1::": "", "::192.0.2.0": "", "::ffff:192.0.2.0": "",
	} {
		got := ""
		if p := c.PoolOf(netip.MustParseAddr(addr)); p != nil {
			got = p.Name
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
}

func TestPrefixesOfARange(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.0-192.0.2.255":                      "[192.0.2.0/24]",
		"192.0.2.1-192.0.2.1":                        "[192.0.2.1/32]",
		"192.0.2.1-192.0.2.6":                        "[192.0.2.1/32 192.0.2.2/31 192.0.2.4/31 192.0.2.6/32]",
		"0.0.0.0-255.255.255.255":                    "[0.0.0.0/0]",
		"255.255.255.254-255.255.255.255":            "[255.255.255.254/31]",
		"2001:db8::-2001:db8::1:0":                   "[2001:db8::/112 2001:db8::1:0/128]",
		"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "[::/0]",
	} {
		from, to, _ := strings.Cut(in, "-")
		r := Range{netip.MustParseAddr(from), netip.MustParseAddr(to)}
		if got := fmt.Sprint(r.Prefixes()); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	rnd := rand.New(rand.NewSource(1))
	for range 2000 {
		a, b := rnd.Uint32(), rnd.Uint32()
		if rnd.Intn(2) == 0 {
			b = a + uint32(rnd.Intn(5000))
		}
		r := Range{addr4(min(a, b)), addr4(max(a, b))}
		next := r.From
		list := r.Prefixes()
		for i, p := range list {
			if p.Addr() != next || p != p.Masked() {
				t.Fatalf("%v: %v begins at another address than %v", r, p, next)
			}
			if i > 0 && p.Bits() == list[i-1].Bits() && netip.PrefixFrom(list[i-1].Addr(), p.Bits()-1).Contains(p.Addr()) && netip.PrefixFrom(list[i-1].Addr(), p.Bits()-1).Masked().Addr() == list[i-1].Addr() {
				t.Fatalf("%v: %v and %v are one prefix", r, list[i-1], p)
			}
			next = lastOf(p).Next()
		}
		if last := lastOf(list[len(list)-1]); last != r.To {
			t.Fatalf("%v ends at %v", r, last)
		}
	}
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
