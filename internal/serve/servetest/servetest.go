// Package servetest reads metrics as tests need them: what has a value changed
// to, and which others have changed with it.
package servetest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Absent is the value of a series that has gone.
const Absent = -1

// Series are the values of all metrics. A key is the name and the values of the
// labels in the order of their names, with blanks between; of a histogram there
// are count and sum.
func Series(tb testing.TB, g prometheus.Gatherer) map[string]float64 {
	tb.Helper()
	families, err := g.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += " " + l.GetValue()
			}
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				all[key+" count"], all[key+" sum"] = float64(m.Histogram.GetSampleCount()), m.Histogram.GetSampleSum()
			case dto.MetricType_COUNTER:
				all[key] = m.Counter.GetValue()
			default:
				all[key] = m.Gauge.GetValue()
			}
		}
	}
	return all
}

// Changed are the series that after has otherwise than before, or new; those that
// it lacks are Absent.
func Changed(before, after map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for key, v := range after {
		if was, ok := before[key]; !ok || was != v {
			out[key] = v
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			out[key] = Absent
		}
	}
	return out
}

// Value is that of one series in the text of /metrics. The help of a metric may
// begin with a number just as its value does, so the whole line is read.
func Value(metrics, series string) (float64, bool) {
	for line := range strings.Lines(metrics) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return v, err == nil
		}
	}
	return 0, false
}
