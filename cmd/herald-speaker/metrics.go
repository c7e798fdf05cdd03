package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/speaker"
	"github.com/heraldlb/herald/speaker/bgp"
	"github.com/heraldlb/herald/speaker/plan"
)

// observed are the metrics of what is so at the moment of a scrape. Nothing is
// counted along the way, so nothing can drift from the truth.
type observed struct {
	speaker *speaker.Speaker
	bgp     *bgp.Announcer
	watcher *kube.Watcher
}

func registry(sp *speaker.Speaker, b *bgp.Announcer, w *kube.Watcher) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		observed{sp, b, w})
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
)

func (o observed) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{synced, configInForce, configRefused, decisions, weightsHeld, applyFailed, peerUp, peerRoutes} {
		ch <- d
	}
}

func (o observed) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st := o.speaker.State()
	gauge(synced, flag01(o.watcher.Synced()))
	if st.ConfigHash != "" {
		gauge(configInForce, 1, st.ConfigHash)
	}
	gauge(configRefused, flag01(st.ConfigError != ""))
	gauge(applyFailed, flag01(st.Error != ""))
	for reason, n := range byReason(st) {
		gauge(decisions, float64(n), reason)
	}
	gauge(weightsHeld, float64(held(st)))
	for _, p := range o.bgp.Peers() {
		gauge(peerUp, flag01(p.State == bgp.Established), p.Name, p.Address.String())
		gauge(peerRoutes, float64(p.Routes), p.Name, p.Address.String())
	}
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
