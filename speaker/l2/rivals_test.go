package l2

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRivals plays a conflict second by second. An event is seen at its time;
// what came of it, and of the ticks after, is compared as a whole. Probes are
// counted only.
func TestRivals(t *testing.T) {
	peer, foreign, unknown := kinship{peer: "n2"}, kinship{stranger: true}, kinship{}
	every := func(from, to, step float64) (at []float64) {
		for s := from; s < to; s += step {
			at = append(at, s)
		}
		return at
	}
	for _, c := range []struct {
		name   string
		k      kinship
		seen   []float64 // seconds
		until  float64
		want   string
		probes int // at least
	}{
		{"a peer hands over", peer, []float64{0.2}, 5, "3s repair", 2},
		{"a peer goes on for four seconds", peer, every(0.2, 4, 1), 8, "1.2s report, 6s repair, 6s resolve", 5},
		{"one claim of a stranger", foreign, []float64{0}, 5, "0s defend, 0s report, 2.5s resolve", 2},
		{"a stranger that stays", foreign, every(0, 25, 1), 29, "0s defend, 0s report, 10s defend, 20s defend, 30s defend", 20},
		{"a stranger that goes at last", foreign, every(0, 15, 1), 29, "0s defend, 0s report, 10s defend, 20s defend, 20.5s resolve", 15},
		{"one that may be a node of ours", unknown, []float64{0}, 5, "1s defend, 1s report, 2.5s resolve", 2},
		{
			"a stranger that comes back every five seconds is told of once a minute", foreign, every(0, 70, 5), 69,
			"0s defend, 0s report, 2.5s resolve, 10s defend, 20s defend, 30s defend, 40s defend, 50s defend, 60s defend, 60s report, 62.5s resolve, 70s defend", 20,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, probes := play(c.k, c.seen, c.until)
			if got != c.want || probes < c.probes {
				t.Errorf("got  %s, %d probes\nwant %s, at least %d probes", got, probes, c.want, c.probes)
			}
		})
	}
}

func play(k kinship, seen []float64, until float64) (string, int) {
	var rs rivals
	var said []string
	probes := 0
	start := time.Unix(1_000_000, 0)
	take := func(now time.Time, acts []act) {
		for _, a := range acts {
			if a.kind == actProbe {
				probes++
				continue
			}
			name := map[actKind]string{actReport: "report", actResolve: "resolve", actDefend: "defend", actRepair: "repair"}[a.kind]
			said = append(said, fmt.Sprintf("%gs %s", now.Sub(start).Seconds(), name))
		}
	}
	for ms := 0; float64(ms) <= until*1000+1000; ms += 100 {
		now := start.Add(time.Duration(ms) * time.Millisecond)
		if slices.ContainsFunc(seen, func(s float64) bool { return int(s*1000+0.5) == ms }) {
			take(now, rs.saw(now, place{"eth0", vip4}, stranger, k))
		}
		if ms%500 == 0 {
			take(now, rs.tick(now))
		}
	}
	return strings.Join(said, ", "), probes
}

func TestRivalsForget(t *testing.T) {
	var rs rivals
	now := time.Unix(1_000_000, 0)
	rs.saw(now, place{"eth0", vip4}, stranger, kinship{stranger: true})
	rs.saw(now, place{"eth0", vip6}, stranger, kinship{peer: "n2"})
	if n := rs.on("eth0"); n != 2 {
		t.Errorf("%d are contested, want 2", n)
	}
	acts := rs.forget(func(place) bool { return false })
	if len(acts) != 1 || acts[0].kind != actResolve || acts[0].r.addr != vip4 {
		t.Errorf("what was reported must be resolved when we withdraw, and only that: %+v", acts)
	}
	if len(rs.m) != 0 {
		t.Errorf("still known: %v", rs.m)
	}
}

func TestRivalsFloodIsOneReport(t *testing.T) {
	var rs rivals
	now := time.Unix(1_000_000, 0)
	count := map[actKind]int{}
	for i := range 10_000 {
		now = now.Add(time.Millisecond)
		m := mac{2, 0, 0, 0, byte(i >> 8), byte(i)} // a new MAC each time
		for _, a := range rs.saw(now, place{"eth0", vip4}, m, kinship{stranger: true}) {
			count[a.kind]++
		}
	}
	if count[actReport] != 1 || count[actDefend] != 1 || count[actProbe] > 10 {
		t.Errorf("10,000 claims in 10 s came to %v", count)
	}
}
