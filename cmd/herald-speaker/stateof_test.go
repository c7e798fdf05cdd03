package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/plan"
)

func TestAStateAboutOneService(t *testing.T) {
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	var st state
	st.Table.Decisions = []plan.Decision{
		{Service: "default/sharer", Addr: a}, {Service: "default/web", Addr: a}, {Service: "default/web", Addr: b}, {Service: "other/web", Addr: c},
	}
	st.Table.Routes = []plan.Route{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, {Prefix: netip.MustParsePrefix("192.0.2.2/31")}, {Prefix: netip.MustParsePrefix("198.51.100.0/24")}}
	st.Table.Claims = []plan.Claim{{Addr: a}, {Addr: c}}
	st.Table.Rescue.Services = []plan.RescueService{{Addr: b}, {Addr: c}}
	st.Table.Sessions = []plan.Session{{Name: "tor-a"}}
	st.Holds = plan.Holds{a: {}, c: {}}
	st.Forwarding.Pending = map[string]string{"default/sharer IPv4": "", "other/web IPv4": ""}
	st.Forwarding.Outdated = map[string]string{"default/web IPv4": "", "default/web-2 IPv4": ""}
	st.Forwarding.Weights = map[string]int{"default/web IPv6": 1, "other/web IPv4": 2}
	st.Flows.Addresses = []share.Address{{Addr: b}, {Addr: c}}
	st.Flows.Verdicts = []share.Verdict{{Addr: a}, {Addr: c}}

	got := st.about("default/web")
	type counts struct{ decisions, routes, claims, rescue, sessions, holds, pending, outdated, weights, flows, verdicts int }
	of := func(st state) counts {
		return counts{
			len(st.Table.Decisions), len(st.Table.Routes), len(st.Table.Claims), len(st.Table.Rescue.Services), len(st.Table.Sessions), len(st.Holds),
			len(st.Forwarding.Pending), len(st.Forwarding.Outdated), len(st.Forwarding.Weights), len(st.Flows.Addresses), len(st.Flows.Verdicts),
		}
	}
	if diff := cmp.Diff(counts{3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1}, of(got), cmp.AllowUnexported(counts{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	all := counts{4, 3, 2, 2, 1, 2, 2, 2, 2, 2, 2}
	if of(st) != all || of(st.about("")) != all {
		t.Errorf("the state itself has changed: %+v, and without a Service it is %+v", of(st), of(st.about("")))
	}
	st.Flows.Warnings = []share.Warning{{Addr: a}, {}}
	if wrong := st.about("-"); of(wrong) != (counts{sessions: 1, pending: 2, outdated: 2}) || len(wrong.Flows.Warnings) != 2 {
		t.Errorf("what is wrong: %+v, %d warnings", of(wrong), len(wrong.Flows.Warnings))
	}
	if n := len(st.about("default/none").Flows.Warnings); n != 1 {
		t.Errorf("%d warnings about a Service that is not there, want that of a peer", n)
	}
	if none := of(st.about("default/none")); none != (counts{sessions: 1}) {
		t.Errorf("about a Service that is not there: %+v", none)
	}
}
