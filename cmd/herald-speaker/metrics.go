package main

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/heraldlb/herald/speaker"
	"github.com/heraldlb/herald/speaker/bgp"
	"github.com/heraldlb/herald/speaker/plan"
)

// observed are the metrics of what is so at the moment of a scrape. Nothing is
// counted along the way, so nothing can drift from the truth.
type observed struct{ *node }

func (n *node) metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), observed{n})
	return r
}

var (
	synced = prometheus.NewDesc("herald_speaker_synced",
		"1 once the caches of the API server's objects have synced.", nil, nil)
	configInForce = prometheus.NewDesc("herald_speaker_config_info",
		"1 for the hash of the configuration in force.", []string{"hash"}, nil)
	configRefused = prometheus.NewDesc("herald_speaker_config_refused",
		"1 while the accepted configuration cannot be read by this speaker.", nil, nil)
	decisions = prometheus.NewDesc("herald_speaker_decisions",
		"Addresses of Services, by the reason why this node announces them or not.", []string{"reason"}, nil)
	weightsHeld = prometheus.NewDesc("herald_speaker_weights_held",
		"Addresses whose change of weight is held back by damping.", nil, nil)
	applyFailed = prometheus.NewDesc("herald_speaker_apply_failed",
		"1 while the last table could not be applied.", nil, nil)
	peerUp = prometheus.NewDesc("herald_bgp_session_up",
		"1 while the BGP session is Established.", []string{"peer", "address"}, nil)
	peerRoutes = prometheus.NewDesc("herald_bgp_routes_announced",
		"Prefixes announced to the peer.", []string{"peer", "address"}, nil)
	peerPodCIDRs = prometheus.NewDesc("herald_bgp_pod_cidrs_announced",
		"Prefixes of the node's pods announced to the peer.", []string{"peer", "address"}, nil)
	peerSince = prometheus.NewDesc("herald_bgp_session_since_timestamp_seconds",
		"Since when the BGP session is Established, or is not.", []string{"peer", "address"}, nil)
	peerError = prometheus.NewDesc("herald_bgp_session_last_error_timestamp_seconds",
		"When something went wrong with the BGP session last; /state says what.", []string{"peer", "address"}, nil)
	peerBFD = prometheus.NewDesc("herald_bgp_bfd_up",
		"1 while the BFD session is Up; absent without BFD.", []string{"peer", "address"}, nil)
	peerWithheld = prometheus.NewDesc("herald_bgp_routes_withheld",
		"1 while routes that the peer should get are missing; /state says why.", []string{"peer", "address"}, nil)
	peersRefused = prometheus.NewDesc("herald_bgp_peers_refused",
		"Peers that are configured for this node but not possible on it; /state says why.", nil, nil)
	notForwarded = prometheus.NewDesc("herald_speaker_not_forwarded",
		"Services, by family, that wait for kube-proxy on this node before they are announced.", nil, nil)
	rulesOutdated = prometheus.NewDesc("herald_speaker_rules_outdated",
		"Services, by family, whose rules on this node lead to endpoints that are gone, because kube-proxy is dead or stuck; /state says which.", nil, nil)
	kubeProxyUp = prometheus.NewDesc("herald_speaker_kube_proxy_up",
		"1 while kube-proxy on this node answers, 0 when it has ceased to; absent while it never has.", nil, nil)
	fuseHeld = prometheus.NewDesc("herald_speaker_fuse_held",
		"Addresses that are announced only because a mass withdrawal is held back.", nil, nil)
	resumed = prometheus.NewDesc("herald_speaker_resumed",
		"1 while this speaker announces a saved state, because the API server has not answered since it began.", nil, nil)
	rescueOn = prometheus.NewDesc("herald_rescue_on",
		"1 while connections that reach the wrong node are led back; /state says why not.", nil, nil)
	rescuePackets = prometheus.NewDesc("herald_rescue_packets_total",
		"Packets of flow rescue, since the tables were made: asked about, claims received, directed to their owner, given up, dropped by the limit.", []string{"what"}, nil)
	claims = prometheus.NewDesc("herald_l2_addresses",
		"Addresses that this node answers for at layer 2.", nil, nil)
	rivals = prometheus.NewDesc("herald_l2_rivals",
		"Addresses of this node for which another interface answers too.", []string{"link"}, nil)
	conflicts = prometheus.NewDesc("herald_l2_conflicts_total",
		"Reports of another interface that answers for an address of this node.", nil, nil)
	membersAlive = prometheus.NewDesc("herald_members_alive",
		"Nodes that the gossip knows to be alive, this one included.", nil, nil)
	memberDeaths = prometheus.NewDesc("herald_member_deaths_total",
		"Members that failed without leaving.", nil, nil)
)

func (o observed) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{synced, configInForce, configRefused, decisions, weightsHeld, applyFailed, peerUp, peerRoutes, peerPodCIDRs, peerSince, peerError, peerBFD, peerWithheld, peersRefused, notForwarded, rulesOutdated, kubeProxyUp, fuseHeld, resumed, rescueOn, rescuePackets, flowsOn, flowsTotal, flowsExpected, weightsIgnored, weightsWarnings, claims, rivals, conflicts, membersAlive, memberDeaths} {
		ch <- d
	}
}

func (o observed) Collect(ch chan<- prometheus.Metric) {
	x := facts{state: o.state(), Synced: o.watcher.Synced()}
	if o.layer2 != nil {
		x.Conflicts = o.layer2.conflicts.Load()
	}
	x.collect(ch)
}

// facts are all that the metrics are made of.
type facts struct {
	state
	Synced    bool
	Conflicts uint64 // at layer 2
}

func (x facts) collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(synced, flag01(x.Synced))
	if x.ConfigHash != "" {
		gauge(configInForce, 1, x.ConfigHash)
	}
	gauge(configRefused, flag01(x.ConfigError != ""))
	gauge(applyFailed, flag01(x.Error != ""))
	for reason, n := range byReason(x.State) {
		gauge(decisions, float64(n), reason)
	}
	gauge(weightsHeld, float64(held(x.State)))
	gauge(notForwarded, float64(len(x.Forwarding.Pending)))
	gauge(rulesOutdated, float64(len(x.Forwarding.Outdated)))
	if !x.Forwarding.Heard.IsZero() {
		gauge(kubeProxyUp, flag01(!x.Forwarding.Down))
	}
	gauge(fuseHeld, float64(x.Fused))
	gauge(resumed, flag01(x.Resumed != nil))
	gauge(rescueOn, flag01(x.Rescue.On))
	for what, n := range map[string]uint64{
		"asked": x.Rescue.Counters.Asked, "claimed": x.Rescue.Counters.Claimed, "directed": x.Rescue.Counters.Directed,
		"given_up": x.Rescue.Counters.GivenUp, "limited": x.Rescue.Counters.Limited,
	} {
		ch <- prometheus.MustNewConstMetric(rescuePackets, prometheus.CounterValue, float64(n), what)
	}
	gauge(peersRefused, float64(len(x.Table.Refused)))
	for _, r := range x.Table.Refused {
		// The table and the sessions are not of the same moment, and a series must not be
		// there twice.
		if !slices.ContainsFunc(x.Peers, func(p bgp.PeerStatus) bool { return p.Name == r.Name && !p.Address.IsValid() }) {
			gauge(peerUp, 0, r.Name, "")
		}
	}
	for _, p := range x.Peers {
		at := ""
		if p.Address.IsValid() {
			at = p.Address.String()
		}
		gauge(peerUp, flag01(p.State == bgp.Established), p.Name, at)
		gauge(peerRoutes, float64(p.Routes), p.Name, at)
		gauge(peerPodCIDRs, float64(p.PodCIDRs), p.Name, at)
		gauge(peerSince, seconds(p.Since), p.Name, at)
		gauge(peerWithheld, flag01(p.Withheld != ""), p.Name, at)
		if !p.LastErrorAt.IsZero() {
			gauge(peerError, seconds(p.LastErrorAt), p.Name, at)
		}
		if p.BFD != "" {
			gauge(peerBFD, flag01(p.BFD == "Up"), p.Name, at)
		}
	}
	x.collectFlows(ch)
	if x.Members != nil {
		x.collectLayer2(ch)
	}
}

func (x facts) collectLayer2(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	send(claims, prometheus.GaugeValue, float64(len(x.Table.Claims)))
	for _, l := range x.Links {
		send(rivals, prometheus.GaugeValue, float64(l.Rivals), l.Link)
	}
	send(conflicts, prometheus.CounterValue, float64(x.Conflicts))
	send(membersAlive, prometheus.GaugeValue, float64(len(x.Alive)))
	send(memberDeaths, prometheus.CounterValue, float64(x.Members.Deaths))
}

// byReason has every Reason, also those that nothing has now: a series that
// comes and goes cannot be alerted on.
func byReason(st speaker.State) map[string]int {
	n := map[string]int{}
	for _, r := range plan.Reasons() {
		n[string(r)] = 0
	}
	for _, d := range st.Table.Decisions {
		n[string(d.Reason)]++
	}
	return n
}

func held(st speaker.State) int {
	n := 0
	for _, h := range st.Holds {
		if !h.Due.IsZero() {
			n++
		}
	}
	return n
}

func flag01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
