package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// A script is a list of "at <time> <what Compute wants> -> <what is announced>".
// Addresses are letters. After the ones to announce: :x others announce x, !x a
// decision of somebody's keeps x silent, ?x nobody has an endpoint for x.
func TestFuse(t *testing.T) {
	half := config.Fuse{Percent: 50, HoldTime: 30 * time.Second}
	tests := []struct {
		desc   string
		fuse   config.Fuse
		script []string
	}{
		{"most addresses lose their last endpoint at once: held, then let go", half, []string{
			"0s abcdefghij -> abcdefghij", "1s a?bcdefghij -> abcdefghij held 9 until 31s", "30s a?bcdefghij -> abcdefghij held 9 until 31s",
			"31s a?bcdefghij -> a", "32s a?bcdefghij -> a",
		}},
		{"the same for Services that are gone altogether", half, []string{
			"0s abcdefghij -> abcdefghij", "1s - -> abcdefghij held 10 until 31s", "31s - -> -",
		}},
		{"what comes back is held no more", half, []string{
			"0s abcdefghij -> abcdefghij", "1s - -> abcdefghij held 10 until 31s", "2s abcdefg -> abcdefghij held 3 until 31s",
			"3s abcdefghij -> abcdefghij", "60s abcdefghij -> abcdefghij",
		}},
		{"what other nodes announce goes", half, []string{
			"0s abcdefghij -> abcdefghij", "1s :abcdefghij -> -",
		}},
		{"what moves to other nodes during a hold goes", half, []string{
			"0s abcdefghij -> abcdefghij", "1s ?abcdefghij -> abcdefghij held 10 until 31s", "2s :abc?defghij -> defghij held 7 until 31s",
		}},
		{"half is not more than half", half, []string{
			"0s abcdefghijklmnop -> abcdefghijklmnop", "1s abcdefgh -> abcdefgh",
		}},
		{"few addresses are no mass", half, []string{
			"0s abcdefg -> abcdefg", "1s - -> -",
		}},
		{"what somebody decided goes", half, []string{
			"0s abcdefghij -> abcdefghij", "1s !abcdefghij -> -",
		}},
		{"what is explained goes, also what was held", half, []string{
			"0s abcdefghij -> abcdefghij", "1s - -> abcdefghij held 10 until 31s", "2s - explained -> -", "3s - -> -",
		}},
		{"a loss in small pieces is one", half, []string{
			"0s abcdefghijkl -> abcdefghijkl", "1s abcdefghij -> abcdefghij", "2s abcdefgh -> abcdefgh", "3s abcdef -> abcdef",
			"4s abcd -> abcdef held 2 until 34s", "5s ab -> abcdef held 4 until 34s", "34s ab -> abcd held 2 until 35s", "35s ab -> ab",
		}},
		{"a slow loss is none", half, []string{
			"0s abcdefghijkl -> abcdefghijkl", "1s abcdefgh -> abcdefgh", "12s abcd -> abcd", "23s - -> -",
		}},
		{"what was let go and comes back does not count", half, []string{
			"0s abcdefghijkl -> abcdefghijkl", "1s abcdefg -> abcdefg", "2s abcdefghijkl -> abcdefghijkl", "3s abcdefg -> abcdefg",
		}},
		{"no fuse", config.Fuse{Percent: 100, HoldTime: time.Second}, []string{"0s abcdefghij -> abcdefghij", "1s - -> -"}},
		{"any mass", config.Fuse{Percent: 0, HoldTime: time.Second}, []string{
			"0s abcdefghijklmnopqrstuvw -> abcdefghijklmnopqrstuvw", "1s abcdefghijklmno -> abcdefghijklmnopqrstuvw held 8 until 2s",
		}},
		{"what drains is no loss", half, []string{
			"0s abcdefghij -> abcdefghij", "1s ABCDEFGHIJ -> ABCDEFGHIJ", "2s - -> -",
		}},
		{"a clock that was set back holds nothing for long", half, []string{
			"10h abcdefghij -> abcdefghij", "10h - -> abcdefghij held 10 until 10h0m30s", "1h - -> abcdefghij held 10 until 1h0m30s", "1h0m30s - -> -",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.desc, func(t *testing.T) { runFuse(t, tt.fuse, tt.script) })
	}
}

func runFuse(t *testing.T, c config.Fuse, script []string) {
	midnight := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var state plan.FuseState
	var applied plan.Table
	for _, line := range script {
		left, want, _ := strings.Cut(line, " -> ")
		w := strings.Fields(left)
		d, err := time.ParseDuration(w[0])
		if err != nil {
			t.Fatal(err)
		}
		out, next, wake := state.Fuse(applied, fuseTable(w[1]), c, len(w) > 2, midnight.Add(d))
		got := announcedText(t, out)
		if n := next.Held(); n > 0 {
			got += fmt.Sprintf(" held %d until %s", n, wake.Sub(midnight))
		} else if !wake.IsZero() || !next.Since().IsZero() {
			t.Errorf("at %s nothing is held, since %s until %s", w[0], next.Since(), wake)
		}
		if got != want && strings.ReplaceAll(got, "h0m0s", "h") != want {
			t.Errorf("at %s, wanted %s: got %s, want %s", w[0], w[1], got, want)
		}
		state, applied = next, out
	}
}

// fuseTable is what Compute says: see TestFuse.
func fuseTable(letters string) plan.Table {
	end := strings.IndexAny(letters, ":!?")
	if end < 0 {
		end = len(letters)
	}
	t := drainTable(letters[:end])
	t.RouterID, t.Sessions = netip.MustParseAddr("10.0.0.1"), []plan.Session{{Name: "r"}}
	kind := byte(0)
	for _, l := range []byte(letters[end:]) {
		if strings.IndexByte(":!?", l) >= 0 {
			kind = l
			continue
		}
		d := plan.Decision{Addr: netip.AddrFrom4([4]byte{198, 51, 100, l}), Reason: plan.NoReadyEndpoint}
		switch kind {
		case ':':
			d.Reason, d.Nodes = plan.NoReadyEndpointOnNode, []plan.NodeWeight{{Node: "n2", Weight: 1}}
		case '!':
			d.Reason = plan.NodeExcluded
		}
		t.Decisions = append(t.Decisions, d)
	}
	return t
}

// Also at layer 2, in aggregates, and when the node itself is gone from the
// snapshot; but nothing to a peer that is gone.
func TestFuseHoldsAllThatIsAnnounced(t *testing.T) {
	agg := netip.MustParsePrefix("198.51.100.0/24")
	applied := plan.Table{
		Self: "n1", ASN: 64513, RouterID: netip.MustParseAddr("10.0.0.1"), Sessions: []plan.Session{{Name: "a"}, {Name: "b"}},
		Routes: []plan.Route{{Peer: "a", Prefix: agg, Weight: 1}, {Peer: "b", Prefix: agg, Weight: 1}},
	}
	for i := range byte(9) {
		a := netip.AddrFrom4([4]byte{198, 51, 100, i})
		applied.Claims = append(applied.Claims, plan.Claim{Addr: a, Links: []string{"eth0"}})
		applied.Decisions = append(applied.Decisions, plan.Decision{Service: "s", Addr: a, Announce: true, Claim: true, Owner: "n1", Weight: 1})
	}
	fuse := config.Fuse{Percent: 50, HoldTime: time.Second}
	out, _, _ := plan.FuseState{}.Fuse(applied, plan.Table{Self: "n1"}, fuse, false, time.Unix(0, 0))
	if !out.Same(applied) {
		t.Errorf("got\n%s, want\n%s", text(out), text(applied))
	}
	if d := out.Decisions[3]; d.Reason != plan.WithdrawalHeld || d.Detail != "the Service or its address is gone" {
		t.Errorf("got %+v", d)
	}
	out, _, _ = plan.FuseState{}.Fuse(applied, plan.Table{Self: "n1", RouterID: applied.RouterID, Sessions: applied.Sessions[1:]}, fuse, false, time.Unix(0, 0))
	if want := applied.Routes[1:]; !slices.EqualFunc(out.Routes, want, func(a, b plan.Route) bool { return a.Peer == b.Peer }) {
		t.Errorf("got %v, want %v", out.Routes, want)
	}
}
