package allocator

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Metrics are the allocator's. Their names are API. Those that describe the
// cluster are absent while another replica leads, so that no two disagree.
type Metrics struct {
	leader   prometheus.Gauge
	valid    *prometheus.GaugeVec
	problems *prometheus.GaugeVec
	warnings *prometheus.GaugeVec
	capacity *prometheus.GaugeVec
	assigned *prometheus.GaugeVec
	services *prometheus.GaugeVec
	pending  prometheus.Gauge
	writes   *prometheus.CounterVec
	write    prometheus.Histogram
	delay    prometheus.Histogram

	pools map[[2]string]bool // name and family of those that capacity has now
}

var latencies = prometheus.ExponentialBuckets(0.001, 2, 15) // 1 ms to 16 s

// NewMetrics makes and registers the metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencies})
	}
	m := &Metrics{
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "herald_allocator_leader", Help: "1 while this replica hands out addresses.",
		}),
		valid:    gauge("herald_config_valid", "1 if the newest configuration is in force; 0: it has faults, or could not be published, and an older one is."),
		problems: gauge("herald_config_problems", "Number of faults in the newest configuration."),
		warnings: gauge("herald_config_warnings", "Number of warnings about the newest configuration, if it is valid."),
		capacity: gauge("herald_allocator_pool_capacity", "Addresses of a pool that are or can be handed out.", "pool", "family"),
		assigned: gauge("herald_allocator_pool_assigned", "Addresses of a pool that Services have.", "pool", "family"),
		services: gauge("herald_allocator_services", "Services by the reason in their condition.", "reason"),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "herald_allocator_pending_writes", Help: "Statuses that differ from what they should be.",
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "herald_allocator_status_writes_total",
			Help: "Writes of a Service's status, by result: ok, gone (it has changed meanwhile), refused, or unknown when there was no answer.",
		}, []string{"result"}),
		write: histogram("herald_allocator_status_write_seconds", "How long the API server took for one write."),
		delay: histogram("herald_allocator_status_delay_seconds", "From the decision about a Service until its status said so."),
	}
	for _, r := range []string{"ok", "gone", "refused", "unknown"} {
		m.writes.WithLabelValues(r)
	}
	if reg != nil {
		reg.MustRegister(m.leader, m.valid, m.problems, m.warnings, m.capacity, m.assigned, m.services, m.pending,
			m.writes, m.write, m.delay)
	}
	return m
}

func (m *Metrics) stopLeading() {
	m.leader.Set(0)
	m.pending.Set(0)
	for _, v := range []*prometheus.GaugeVec{m.valid, m.problems, m.warnings, m.capacity, m.assigned, m.services} {
		v.Reset()
	}
}

func (m *Metrics) judged(ps, warnings config.Problems) {
	valid := 0.0
	if len(ps) == 0 {
		valid = 1
	}
	m.valid.WithLabelValues().Set(valid)
	m.problems.WithLabelValues().Set(float64(len(ps)))
	m.warnings.WithLabelValues().Set(float64(len(warnings)))
}

func (m *Metrics) computed(r assign.Result, pending int) {
	pools := make(map[[2]string]bool)
	for _, p := range r.Pools {
		labels := [2]string{p.Pool, string(p.Family)}
		pools[labels] = true
		m.capacity.WithLabelValues(labels[:]...).Set(float64(p.Capacity))
		m.assigned.WithLabelValues(labels[:]...).Set(float64(p.Assigned))
	}
	for labels := range m.pools {
		if !pools[labels] {
			m.capacity.DeleteLabelValues(labels[:]...)
			m.assigned.DeleteLabelValues(labels[:]...)
		}
	}
	m.pools = pools
	counts := countReasons(r)
	for _, reason := range assign.Reasons() {
		m.services.WithLabelValues(string(reason)).Set(float64(counts[reason]))
	}
	m.pending.Set(float64(pending))
}

func countReasons(r assign.Result) map[assign.Reason]int {
	counts := make(map[assign.Reason]int)
	for _, a := range r.Assignments {
		counts[a.Reason]++
	}
	return counts
}

func (m *Metrics) wrote(d done, delay time.Duration) {
	m.write.Observe(d.took.Seconds())
	result := "unknown"
	switch {
	case d.err == nil:
		result = "ok"
		m.delay.Observe(delay.Seconds())
	case errors.Is(d.err, cluster.ErrGone):
		result = "gone"
	case errors.Is(d.err, cluster.ErrRefused):
		result = "refused"
	}
	m.writes.WithLabelValues(result).Inc()
}
