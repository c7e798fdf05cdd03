package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// A script is a list of "at <time> <what is known> -> <what is announced>".
// Addresses are letters, each of a Service with a pod of its own. After the ones
// to announce: :x others announce x; !x a decision of somebody's keeps x silent;
// ?x its pod is not ready any more; =x its pod has ended; ~x its Service was
// deleted, and a watch said so; @x it has another type. What is not named at all
// is missing in a new list.
func TestFuse(t *testing.T) {
	half := config.Fuse{Percent: 50, HoldTime: 30 * time.Second}
	tests := []struct {
		desc   string
		fuse   config.Fuse
		script []string
	}{
		{"most pods lose their readiness at once: held, then let go", half, []string{
			"0s abcdefghij -> abcdefghij", "1s a?bcdefghij -> abcdefghij held 9 until 31s", "30s a?bcdefghij -> abcdefghij held 9 until 31s",
			"31s a?bcdefghij -> a", "32s a?bcdefghij -> a",
		}},
		{"the same for Services that a new list lacks", half, []string{
			"0s abcdefghij -> abcdefghij", "1s - -> abcdefghij held 10 until 31s", "31s - -> -",
		}},
		{"Services that were deleted go, however many", half, []string{
			"0s abcdefghij -> abcdefghij", "1s ~abcdefghij -> -",
		}},
		{"Services that have another type go, however many", half, []string{
			"0s abcdefghij -> abcdefghij", "1s @abcdefghij -> -",
		}},
		{"Services whose last pod ended go, however many", half, []string{
			"0s abcdefghij -> abcdefghij", "1s =abcdefghij -> -",
		}},
		{"what was told does not count as a part of a mass", half, []string{
			"0s abcdefghijkl -> abcdefghijkl", "1s abcdef~ghijkl -> abcdef", "2s abcd?ef~ghijkl -> abcd",
		}},
		{"beside a hold, what is deleted, changed or ends goes at once", half, []string{
			"0s abcdefghijklmno -> abcdefghijklmno", "1s mno?abcdefghijkl -> abcdefghijklmno held 12 until 31s",
			"2s no?abcdefghijkl~m -> abcdefghijklno held 12 until 31s",
			"3s o?abcdefghijkl~m=n -> abcdefghijklo held 12 until 31s",
			"4s -?abcdefghijkl~m=n@o -> abcdefghijkl held 12 until 31s",
		}},
		{"beside a hold, what is lost later is no part of it", half, []string{
			"0s abcdefghijklmno -> abcdefghijklmno", "1s mno?abcdefghijkl -> abcdefghijklmno held 12 until 31s",
			"12s no?abcdefghijklm -> abcdefghijklno held 12 until 31s",
		}},
		{"what is held goes as soon as a watch tells why", half, []string{
			"0s abcdefghij -> abcdefghij", "1s ?abcdefghij -> abcdefghij held 10 until 31s",
			"2s -?defghij~a=b@c -> defghij held 7 until 31s",
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
		out, next, wake := state.Fuse(applied, fuseTable(w[1]), fuseSnapshot(w[1]), c, len(w) > 2, midnight.Add(d))
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

// eachIn calls do with each letter and the sign before it, 0 for those to announce.
func eachIn(letters string, do func(kind byte, a netip.Addr)) {
	kind := byte(0)
	for _, l := range []byte(strings.ReplaceAll(letters, "-", "")) {
		if strings.IndexByte(":!?=~@", l) >= 0 {
			kind = l
			continue
		}
		do(kind, netip.AddrFrom4([4]byte{198, 51, 100, l | 0x20}))
	}
}

// fuseTable is what Compute says: see TestFuse.
func fuseTable(letters string) plan.Table {
	end := strings.IndexAny(letters, ":!?=~@")
	if end < 0 {
		end = len(letters)
	}
	t := drainTable(letters[:end])
	t.RouterID, t.Sessions = netip.MustParseAddr("10.0.0.1"), []plan.Session{{Name: "r"}}
	eachIn(letters, func(kind byte, a netip.Addr) {
		d := plan.Decision{Addr: a, Reason: plan.NoReadyEndpoint}
		switch kind {
		case 0, '~', '@':
			return
		case ':':
			d.Reason, d.Nodes = plan.NoReadyEndpointOnNode, []plan.NodeWeight{{Node: "n2", Weight: 1}}
		case '!':
			d.Reason = plan.NodeExcluded
		}
		t.Decisions = append(t.Decisions, d)
	})
	return t
}

// fuseSnapshot is what that is made of: see TestFuse.
func fuseSnapshot(letters string) cluster.Snapshot {
	snap := cluster.Snapshot{Nodes: []cluster.Node{{Name: "n1", Ready: true}, {Name: "n2", Ready: true}}}
	snap.Missing.Services = map[string]bool{}
	for l := byte('a'); l <= 'z'; l++ {
		snap.Missing.Services["default/"+string(l)] = true
	}
	eachIn(letters, func(kind byte, a netip.Addr) {
		l := a.As4()[3]
		s := cluster.Service{
			Namespace: "default", Name: string(l), LoadBalancer: kind != '@', LocalOnly: true, Ingress: []netip.Addr{a},
			Endpoints: []cluster.Endpoint{{Addr: netip.AddrFrom4([4]byte{10, 244, 1, l}), Node: "n1", Ready: kind != '?'}},
		}
		delete(snap.Missing.Services, s.Key())
		switch kind {
		case '~':
			return
		case '=':
			s.Endpoints = nil
		case ':':
			s.Endpoints[0].Node = "n2"
		}
		snap.Services = append(snap.Services, s)
	})
	slices.SortFunc(snap.Services, func(a, b cluster.Service) int { return strings.Compare(a.Key(), b.Key()) })
	return snap
}

// Each row is the one Service of an address that is lost with many others, before
// and after.
func TestWhatTheWatchesTold(t *testing.T) {
	addr := netip.MustParseAddr("198.51.100.1")
	ready := cluster.Endpoint{Addr: netip.MustParseAddr("10.244.1.2"), Node: "n1", Ready: true, Serving: true}
	six := cluster.Endpoint{Addr: netip.MustParseAddr("fd00:244:1::2"), Node: "n1", Ready: true, Serving: true}
	not := func(e cluster.Endpoint) cluster.Endpoint { e.Ready, e.Serving = false, false; return e }
	ends := func(e cluster.Endpoint) cluster.Endpoint { e.Ready, e.Terminating = false, true; return e }
	moved := func(e cluster.Endpoint) cluster.Endpoint { e.Node = "n2"; return e }
	for _, tt := range []struct {
		desc   string
		change func(*cluster.Snapshot, *cluster.Service)
		told   bool
	}{
		{"the Service was deleted", func(s *cluster.Snapshot, _ *cluster.Service) { s.Services = s.Services[:9] }, true},
		{"a list lacks the Service", func(s *cluster.Snapshot, _ *cluster.Service) {
			s.Services, s.Missing.Services = s.Services[:9], map[string]bool{"default/web": true}
		}, false},
		{"it ends", func(_ *cluster.Snapshot, s *cluster.Service) { s.Deleting = true }, true},
		{"another class", func(_ *cluster.Snapshot, s *cluster.Service) { s.Class = "example.com/other" }, true},
		{"the address was taken from it", func(_ *cluster.Snapshot, s *cluster.Service) { s.Ingress = nil }, true},
		{"its pod ended", func(_ *cluster.Snapshot, s *cluster.Service) { s.Endpoints = nil }, true},
		{"its pod ends", func(_ *cluster.Snapshot, s *cluster.Service) { s.Endpoints = []cluster.Endpoint{ends(ready)} }, true},
		{"its pod ended, and another is not ready yet", func(_ *cluster.Snapshot, s *cluster.Service) {
			next := not(ready)
			next.Addr = netip.MustParseAddr("10.244.1.3")
			s.Endpoints = []cluster.Endpoint{next}
		}, true},
		{"its address is another pod's now, on another node", func(_ *cluster.Snapshot, s *cluster.Service) {
			s.Endpoints = []cluster.Endpoint{not(moved(ready))}
		}, true},
		{"a list lacks an EndpointSlice", func(s *cluster.Snapshot, svc *cluster.Service) {
			svc.Endpoints, s.Missing.Endpoints = nil, map[string]bool{"default/web": true}
		}, false},
		{"its pod is not ready any more", func(_ *cluster.Snapshot, s *cluster.Service) { s.Endpoints = []cluster.Endpoint{not(ready)} }, false},
		{"one pod ended, the other is not ready", func(_ *cluster.Snapshot, s *cluster.Service) {
			s.Endpoints = []cluster.Endpoint{not(ready), six}
		}, false},
		{"a pod of the other family is not ready", func(_ *cluster.Snapshot, s *cluster.Service) { s.Endpoints = []cluster.Endpoint{not(six)} }, true},
		{"its Node was deleted", func(s *cluster.Snapshot, _ *cluster.Service) { s.Nodes = nil }, true},
		{"a list lacks its Node", func(s *cluster.Snapshot, _ *cluster.Service) {
			s.Nodes, s.Missing.Nodes = nil, map[string]bool{"n1": true}
		}, false},
		{"its Node is not ready", func(s *cluster.Snapshot, _ *cluster.Service) { s.Nodes = []cluster.Node{{Name: "n1"}} }, false},
		{"its Node has no network", func(s *cluster.Snapshot, _ *cluster.Service) {
			s.Nodes = []cluster.Node{{Name: "n1", Ready: true, NetworkUnavailable: true}}
		}, false},
	} {
		before, after := fuseSnapshot("abcdefghi"), fuseSnapshot("?abcdefghi") // the mass beside it, which nobody told of
		web := cluster.Service{Namespace: "default", Name: "web", LoadBalancer: true, LocalOnly: true, Ingress: []netip.Addr{addr}}
		web.Endpoints = []cluster.Endpoint{ready, six}
		before.Services, after.Services = append(before.Services, web), append(after.Services, web)
		tt.change(&after, &after.Services[9])

		applied := fuseTable("abcdefghi")
		applied.Decisions = append(applied.Decisions, plan.Decision{Service: "default/web", Addr: addr, Announce: true, Weight: 1})
		fuse := config.Fuse{Percent: 50, HoldTime: time.Second}
		_, state, _ := plan.FuseState{}.Fuse(plan.Table{}, applied, before, fuse, false, time.Unix(0, 0))
		_, state, _ = state.Fuse(applied, plan.Table{Self: "n1"}, after, fuse, false, time.Unix(1, 0))
		want := 10
		if tt.told {
			want = 9
		}
		if got := state.Held(); got != want {
			t.Errorf("%s: %d held, want %d", tt.desc, got, want)
		}
	}
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
	out, _, _ := plan.FuseState{}.Fuse(applied, plan.Table{Self: "n1"}, cluster.Snapshot{}, fuse, false, time.Unix(0, 0))
	if !out.Same(applied) {
		t.Errorf("got\n%s, want\n%s", text(out), text(applied))
	}
	if d := out.Decisions[3]; d.Reason != plan.WithdrawalHeld || d.Detail != "the Service or its address is gone" {
		t.Errorf("got %+v", d)
	}
	out, _, _ = plan.FuseState{}.Fuse(applied, plan.Table{Self: "n1", RouterID: applied.RouterID, Sessions: applied.Sessions[1:]}, cluster.Snapshot{}, fuse, false, time.Unix(0, 0))
	if want := applied.Routes[1:]; !slices.EqualFunc(out.Routes, want, func(a, b plan.Route) bool { return a.Peer == b.Peer }) {
		t.Errorf("got %v, want %v", out.Routes, want)
	}
}
