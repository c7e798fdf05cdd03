package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/internal/serve/servetest"
	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/bgp"
	"github.com/heraldlb/herald/speaker/l2"
	"github.com/heraldlb/herald/speaker/members"
	"github.com/heraldlb/herald/speaker/plan"
)

// collector is what a speaker with these facts answers on /metrics.
type collector struct{ facts *facts }

func (c collector) Describe(ch chan<- *prometheus.Desc) { observed{}.Describe(ch) }
func (c collector) Collect(ch chan<- prometheus.Metric) { c.facts.collect(ch) }
func (c collector) gather(t *testing.T) map[string]float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	return servetest.Series(t, r)
}

// Each row is one thing that happens to a speaker, and all that it changes. That
// the facts are true is for the tests of the lab.
func TestMetricsFollowTheFacts(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_500)
	x := &facts{}
	x.Flows.Off = "not permitted"
	all := collector{x}
	router := func() *bgp.PeerStatus { return &x.Peers[0] }
	before := all.gather(t)
	for series, v := range before {
		if v != 0 {
			t.Errorf("%s is %v in the beginning", series, v)
		}
	}
	if n := len(plan.Reasons()); n < 10 || len(before) != 10+5+1+len(share.Kinds())+n {
		t.Errorf("%d series in the beginning, %d of them reasons: %v", len(before), n, before)
	}
	for _, row := range []struct {
		desc string
		do   func()
		want map[string]float64
	}{
		{"the caches sync", func() { x.Synced = true }, map[string]float64{"herald_speaker_synced": 1}},
		{"a configuration", func() { x.ConfigHash = "abc" }, map[string]float64{"herald_speaker_config_info abc": 1}},
		{"another", func() { x.ConfigHash = "def" }, map[string]float64{
			"herald_speaker_config_info abc": servetest.Absent, "herald_speaker_config_info def": 1,
		}},
		{"one that it cannot read", func() { x.ConfigError = "unknown key" }, map[string]float64{"herald_speaker_config_refused": 1}},
		{"it can again", func() { x.ConfigError = "" }, map[string]float64{"herald_speaker_config_refused": 0}},
		{"a table that cannot be applied", func() { x.Error = "not permitted" }, map[string]float64{"herald_speaker_apply_failed": 1}},
		{"and one that can", func() { x.Error = "" }, map[string]float64{"herald_speaker_apply_failed": 0}},
		{"decisions", func() {
			x.Table.Decisions = []plan.Decision{{Reason: plan.Announced}, {Reason: plan.Announced}, {Reason: plan.NoReadyEndpoint}}
		}, map[string]float64{
			"herald_speaker_decisions Announced": 2, "herald_speaker_decisions NoReadyEndpoint": 1,
		}},
		{"a weight is held back, another is too close to matter", func() {
			x.Holds = plan.Holds{netip.MustParseAddr("192.0.2.1"): {Due: at}, netip.MustParseAddr("192.0.2.2"): {}}
		}, map[string]float64{"herald_speaker_weights_held": 1}},
		{"kube-proxy is slow", func() { x.Forwarding.Pending = map[string]string{"default/web IPv4": "", "default/web IPv6": ""} }, map[string]float64{
			"herald_speaker_not_forwarded": 2,
		}},
		{"kube-proxy answers", func() { x.Forwarding.Heard = at }, map[string]float64{"herald_speaker_kube_proxy_up": 1}},
		{"it dies", func() { x.Forwarding.Down = true }, map[string]float64{"herald_speaker_kube_proxy_up": 0}},
		{"and a pod goes", func() { x.Forwarding.Outdated = map[string]string{"default/web IPv4": "it is dead"} }, map[string]float64{
			"herald_speaker_rules_outdated": 1,
		}},
		{"the fuse", func() { x.Fused = 12 }, map[string]float64{"herald_speaker_fuse_held": 12}},
		{"a saved state", func() { x.Resumed = &at }, map[string]float64{"herald_speaker_resumed": 1}},
		{"flow rescue", func() { x.Rescue.On = true }, map[string]float64{"herald_rescue_on": 1}},
		{"its packets", func() {
			x.Rescue.Counters = dataplane.RescueCounters{Asked: 5, Claimed: 4, Directed: 3, GivenUp: 2, Limited: 1}
		}, map[string]float64{
			"herald_rescue_packets_total asked": 5, "herald_rescue_packets_total claimed": 4, "herald_rescue_packets_total directed": 3,
			"herald_rescue_packets_total given_up": 2, "herald_rescue_packets_total limited": 1,
		}},
		{"flows are counted", func() { x.Flows.Off = "" }, map[string]float64{"herald_flows_on": 1}},
		{"some", func() {
			x.Node = "n1"
			x.Flows.Addresses = []share.Address{{Addr: netip.MustParseAddr("192.0.2.1"), Total: 40, Nodes: []share.Weight{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 3}}}}
		}, map[string]float64{"herald_flows_total 192.0.2.1": 40, "herald_flows_expected_share 192.0.2.1": 0.25}},
		{"another node's weight changes", func() { x.Flows.Addresses[0].Nodes[1].Weight = 1 }, map[string]float64{"herald_flows_expected_share 192.0.2.1": 0.5}},
		{"this node announces it no more, while it drains", func() { x.Flows.Addresses[0].Nodes = x.Flows.Addresses[0].Nodes[1:] }, map[string]float64{
			"herald_flows_expected_share 192.0.2.1": servetest.Absent,
		}},
		{"too few for a verdict", func() {
			x.Flows.Verdicts = []share.Verdict{{Addr: netip.MustParseAddr("192.0.2.1"), Kind: share.TooFew, Peers: []string{"tor-a", "tor-b"}}}
		}, map[string]float64{}},
		{"enough", func() { x.Flows.Verdicts[0].Kind = share.Right }, map[string]float64{"herald_weights_ignored 192.0.2.1 tor-a,tor-b": 0}},
		{"a router ignores weights", func() { x.Flows.Verdicts[0].Kind, x.Flows.Verdicts[0].Peers = share.Wrong, []string{"tor-b"} }, map[string]float64{
			"herald_weights_ignored 192.0.2.1 tor-a,tor-b": servetest.Absent, "herald_weights_ignored 192.0.2.1 tor-b": 1,
		}},
		{"a reflector", func() { x.Flows.Warnings = []share.Warning{{Kind: share.Reflector}} }, map[string]float64{"herald_weights_warnings Reflector": 1}},
		{"a peer that this node cannot have", func() { x.Table.Refused = []plan.RefusedPeer{{Name: "rack", Problem: "no label"}} }, map[string]float64{
			"herald_bgp_peers_refused": 1, "herald_bgp_session_up  rack": 0,
		}},
		{"it can have it", func() { x.Table.Refused = nil }, map[string]float64{
			"herald_bgp_peers_refused": 0, "herald_bgp_session_up  rack": servetest.Absent,
		}},
		{"a peer, not connected yet", func() {
			x.Peers = []bgp.PeerStatus{{Name: "router", Address: netip.MustParseAddr("10.0.0.1"), State: bgp.Active, Since: at}}
		}, map[string]float64{
			"herald_bgp_session_up 10.0.0.1 router": 0, "herald_bgp_routes_announced 10.0.0.1 router": 0,
			"herald_bgp_pod_cidrs_announced 10.0.0.1 router":             0,
			"herald_bgp_session_since_timestamp_seconds 10.0.0.1 router": 1_700_000_000.5,
			"herald_bgp_routes_withheld 10.0.0.1 router":                 0,
		}},
		{"it is up", func() {
			router().State, router().Since, router().Routes = bgp.Established, at.Add(time.Second), 7
			router().PodCIDRs = 2
		}, map[string]float64{
			"herald_bgp_session_up 10.0.0.1 router": 1, "herald_bgp_routes_announced 10.0.0.1 router": 7,
			"herald_bgp_pod_cidrs_announced 10.0.0.1 router":             2,
			"herald_bgp_session_since_timestamp_seconds 10.0.0.1 router": 1_700_000_001.5,
		}},
		{"with BFD", func() { router().BFD = "Down" }, map[string]float64{"herald_bgp_bfd_up 10.0.0.1 router": 0}},
		{"which comes up", func() { router().BFD = "Up" }, map[string]float64{"herald_bgp_bfd_up 10.0.0.1 router": 1}},
		{"it does not take all", func() { router().Withheld = "it has not activated IPv6" }, map[string]float64{"herald_bgp_routes_withheld 10.0.0.1 router": 1}},
		{"an error", func() { router().LastErrorAt = at }, map[string]float64{
			"herald_bgp_session_last_error_timestamp_seconds 10.0.0.1 router": 1_700_000_000.5,
		}},
		{"a range on which nobody was found", func() { x.Peers = append(x.Peers, bgp.PeerStatus{Name: "any", State: bgp.Idle, Since: at}) }, map[string]float64{
			"herald_bgp_session_up  any": 0, "herald_bgp_routes_announced  any": 0, "herald_bgp_pod_cidrs_announced  any": 0, "herald_bgp_routes_withheld  any": 0,
			"herald_bgp_session_since_timestamp_seconds  any": 1_700_000_000.5,
		}},
		{"which is refused at the same moment", func() { x.Table.Refused = []plan.RefusedPeer{{Name: "any"}} }, map[string]float64{"herald_bgp_peers_refused": 1}},
		{"gossip", func() { x.Members = &members.State{}; x.Alive = []string{"n1"} }, map[string]float64{
			"herald_l2_addresses": 0, "herald_l2_conflicts_total": 0, "herald_members_alive": 1, "herald_member_deaths_total": 0,
		}},
		{"another node", func() { x.Alive = []string{"n1", "n2"} }, map[string]float64{"herald_members_alive": 2}},
		{"which dies", func() { x.Alive = []string{"n1"}; x.Members.Deaths = 1 }, map[string]float64{
			"herald_members_alive": 1, "herald_member_deaths_total": 1,
		}},
		{"addresses at layer 2", func() { x.Table.Claims = make([]plan.Claim, 3); x.Links = []l2.LinkStats{{Link: "eth0"}} }, map[string]float64{
			"herald_l2_addresses": 3, "herald_l2_rivals eth0": 0,
		}},
		{"a rival", func() { x.Links[0].Rivals, x.Conflicts = 1, 4 }, map[string]float64{
			"herald_l2_rivals eth0": 1, "herald_l2_conflicts_total": 4,
		}},
	} {
		before := all.gather(t)
		row.do()
		if d := cmp.Diff(row.want, servetest.Changed(before, all.gather(t))); d != "" {
			t.Errorf("%s (-want +got):\n%s", row.desc, d)
		}
	}
}
