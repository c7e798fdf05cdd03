package flows

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/share"
)

var vip = netip.MustParseAddr("198.51.100.0")

// TestAccounts plays a time line. A step takes a sample of the counters of router r
// and of others, or changes what is announced, or both; the line is what is told
// after it.
func TestAccounts(t *testing.T) {
	const settle = 20 * time.Second
	of := func(weights ...uint32) []target {
		out := target{addr: vip, offers: []share.Offer{{Peer: "tor", Router: "r", Weight: weights[0], Up: true}}}
		for i, w := range weights {
			out.nodes = append(out.nodes, share.Weight{Node: fmt.Sprintf("n%d", i+1), Weight: w})
		}
		return []target{out}
	}
	count := func(all, r, others uint64) map[netip.Addr]reading {
		return map[netip.Addr]reading{vip: {all, map[string]uint64{"r": r, "": others}}}
	}
	down := of(1, 3)
	down[0].offers[0].Up = false
	b := accounts{}
	for i, step := range []struct {
		at       int // seconds
		counted  map[netip.Addr]reading
		announce []target
		anew     bool
		want     string
	}{
		{0, nil, of(1, 3), false, "total 0, 0 samples"},
		{10, count(10, 9, 1), of(1, 3), false, "total 10, 0 samples"},
		{20, count(20, 18, 2), of(1, 3), false, "total 20, 0 samples"}, // settled: the first one has a beginning
		{30, count(25, 22, 3), of(1, 3), false, "total 25, 1 samples, r 4, others 1"},
		{40, count(25, 22, 3), of(1, 3), false, "total 25, 2 samples, r 0 4, others 0 1"},
		{50, count(28, 25, 3), of(1, 3), false, "total 28, 3 samples, r 3 0 4, others 0 0 1"},
		{60, count(29, 26, 3), of(1, 3), false, "total 29, 3 samples, r 1 3"}, // three are kept

		{65, nil, of(1, 4), true, "total 29, 0 samples"}, // another node's weight
		{70, count(40, 37, 3), of(1, 4), false, "total 40, 0 samples"},
		{80, count(41, 38, 3), of(1, 4), false, "total 41, 0 samples"},
		{90, count(42, 39, 3), of(1, 4), false, "total 42, 0 samples"},
		{100, count(43, 40, 3), of(1, 4), false, "total 43, 1 samples, r 1"},

		{110, count(2, 2, 0), of(1, 4), false, "total 45, 0 samples"}, // the tables were made anew
		{120, count(3, 3, 0), of(1, 4), false, "total 46, 1 samples, r 1"},

		{130, count(4, 4, 0), down, true, "total 47, 0 samples"}, // a session is down
		{140, count(5, 5, 0), nil, false, "nothing"},
		{150, nil, of(1, 3), false, "total 0, 0 samples"},
	} {
		now := time.Unix(int64(1_000_000+step.at), 0)
		if step.counted != nil {
			b.sample(step.counted, 3, now)
		}
		anew := b.refresh(step.announce, settle, now)
		if (len(anew) > 0) != step.anew {
			t.Errorf("step %d: anew are %v", i, anew)
		}
		got := "nothing"
		if a := b[vip]; a != nil {
			x := a.told()
			got = fmt.Sprintf("total %d, %d samples", x.Total, x.Samples)
			for _, router := range []string{"r", ""} {
				for _, s := range x.Flows {
					if text, _ := s.Counts.MarshalText(); s.Router == router {
						got += fmt.Sprintf(", %s %s", map[string]string{"r": "r", "": "others"}[router], text)
					}
				}
			}
		}
		if got != step.want {
			t.Errorf("at %d s: %s, not %s", step.at, got, step.want)
		}
	}
}

// A router that can be told apart only now has counted before as another one.
func TestARouterThatIsNewBeginsAtItsCount(t *testing.T) {
	b := accounts{}
	now := time.Unix(1_000_000, 0)
	b.refresh([]target{{addr: vip, nodes: []share.Weight{{Node: "n1", Weight: 1}}}}, 0, now)
	b.sample(map[netip.Addr]reading{vip: {1, map[string]uint64{"": 1}}}, 9, now)
	b.sample(map[netip.Addr]reading{vip: {1001, map[string]uint64{"": 1, "r": 1000}}}, 9, now)
	b.sample(map[netip.Addr]reading{vip: {1002, map[string]uint64{"": 1, "r": 1001}}}, 9, now)
	if got := b[vip].told(); got.Samples != 2 || len(got.Flows) != 1 || fmt.Sprint(got.Flows[0].Counts) != "[1]" {
		t.Errorf("got %+v", got)
	}
}
