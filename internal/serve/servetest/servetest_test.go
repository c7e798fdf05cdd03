package servetest

import (
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestValue(t *testing.T) {
	const follower = `# HELP herald_allocator_leader 1 while this replica hands out addresses.
# TYPE herald_allocator_leader gauge
herald_allocator_leader 0
`
	for _, tt := range []struct {
		desc, metrics string
		value         float64
		ok            bool
	}{
		{"of a follower", follower, 0, true},
		{"of a leader", strings.Replace(follower, "leader 0\n", "leader 1\n", 1), 1, true},
		{"ten is not one", strings.Replace(follower, "leader 0\n", "leader 10\n", 1), 10, true},
		{"another name that begins so", "herald_allocator_leaders 1\n", 0, false},
		{"only help", strings.TrimSuffix(follower, "herald_allocator_leader 0\n"), 0, false},
		{"no answer", "connection refused", 0, false},
	} {
		if v, ok := Value(tt.metrics, "herald_allocator_leader"); v != tt.value || ok != tt.ok {
			t.Errorf("%s: %v, %v; want %v, %v", tt.desc, v, ok, tt.value, tt.ok)
		}
	}
}

func TestChanged(t *testing.T) {
	reg := prometheus.NewRegistry()
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "g"}, []string{"b", "a"})
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "c"})
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h"})
	reg.MustRegister(gauge, counter, histogram)
	gauge.WithLabelValues("2", "1").Set(7)
	gauge.WithLabelValues("same", "").Set(7)
	before := Series(t, reg)
	gauge.Reset()
	gauge.WithLabelValues("new", "x").Set(8)
	gauge.WithLabelValues("same", "").Set(7)
	counter.Inc()
	histogram.Observe(2.5)
	got := Changed(before, Series(t, reg))
	if want := map[string]float64{"g 1 2": Absent, "g x new": 8, "c": 1, "h count": 1, "h sum": 2.5}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
