package allocator

import (
	"context"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/serve/servetest"
)

// Each row is something that happens, and all that it changes.
func TestMetricsFollowWhatHappens(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1-192.0.2.3"))
		reg := prometheus.NewRegistry()
		a, err := New(Options{
			Source: w, Statuses: w, ConfigMaps: w, Events: w, Metrics: NewMetrics(reg),
			Namespace: "herald-system", ConfigMap: "herald", Accepted: "herald-accepted",
		})
		if err != nil {
			t.Fatal(err)
		}
		before := servetest.Series(t, reg)
		if before["herald_allocator_leader"] != 0 || len(before) != 10 {
			t.Errorf("before it leads: %v", before)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		now := servetest.Series(t, reg)
		want := map[string]float64{
			"herald_allocator_leader": 1, "herald_config_valid": 1, "herald_config_problems": 0, "herald_config_warnings": 0,
			"herald_allocator_pool_capacity IPv4 public": 3, "herald_allocator_pool_assigned IPv4 public": 0,
		}
		for name := range now {
			if strings.HasPrefix(name, "herald_allocator_services ") {
				want[name] = 0 // there for each reason, or no alert could name them
			}
		}
		if d := cmp.Diff(want, servetest.Changed(before, now)); d != "" || len(want) < 8 {
			t.Errorf("it leads (-want +got):\n%s", d)
		}
		answers := func(err error) func(context.Context, string) error {
			return func(context.Context, string) error { return err }
		}
		for _, row := range []struct {
			desc string
			do   func()
			want map[string]float64
		}{
			{"two Services", func() { w.create("a", "b") }, map[string]float64{
				"herald_allocator_pool_assigned IPv4 public":  2,
				"herald_allocator_services Allocated":         2,
				"herald_allocator_status_writes_total ok":     2,
				"herald_allocator_status_write_seconds count": 2,
				"herald_allocator_status_delay_seconds count": 2,
			}},
			{"two more, but one address", func() { w.create("c", "d") }, map[string]float64{
				"herald_allocator_pool_assigned IPv4 public":  3,
				"herald_allocator_services Allocated":         3,
				"herald_allocator_services PoolExhausted":     1,
				"herald_allocator_status_writes_total ok":     4,
				"herald_allocator_status_write_seconds count": 4,
				"herald_allocator_status_delay_seconds count": 4,
			}},
			{"a configuration with two faults", func() { w.configure(broken) }, map[string]float64{
				"herald_config_valid": 0, "herald_config_problems": 2,
				// Who waits for an address is told that it may be for that.
				"herald_allocator_status_writes_total ok":     5,
				"herald_allocator_status_write_seconds count": 5,
				"herald_allocator_status_delay_seconds count": 5,
			}},
			{"a good one, with one address more", func() { w.configure(pool("192.0.2.1-192.0.2.4")) }, map[string]float64{
				"herald_config_valid": 1, "herald_config_problems": 0,
				"herald_allocator_pool_capacity IPv4 public":  4,
				"herald_allocator_pool_assigned IPv4 public":  4,
				"herald_allocator_services Allocated":         4,
				"herald_allocator_services PoolExhausted":     0,
				"herald_allocator_status_writes_total ok":     6,
				"herald_allocator_status_write_seconds count": 6,
				"herald_allocator_status_delay_seconds count": 6,
			}},
			{"it is valid, but one of its two peers is not like the other", func() {
				w.configure(strings.Replace(pool("192.0.2.1-192.0.2.4"), "asn: 64512}", "asn: 64512}, {name: b, address: 172.31.255.2, asn: 64512, weights: none}", 1))
			}, map[string]float64{"herald_config_warnings": 1}},
			{"they are alike", func() { w.configure(pool("192.0.2.1-192.0.2.4")) }, map[string]float64{"herald_config_warnings": 0}},
			{"the API server says no", func() {
				w.set(func() { w.write = answers(cluster.ErrRefused) })
				w.create("e")
			}, map[string]float64{
				"herald_allocator_services PoolExhausted":      1,
				"herald_allocator_pending_writes":              1,
				"herald_allocator_status_writes_total refused": 1,
				"herald_allocator_status_write_seconds count":  7,
			}},
			{"then it does not answer", func() {
				w.set(func() { w.write = answers(errLost) })
				time.Sleep(150 * time.Millisecond)
			}, map[string]float64{
				"herald_allocator_status_writes_total unknown": 1,
				"herald_allocator_status_write_seconds count":  8,
			}},
			{"then it does, after 2 s", func() {
				w.set(func() {
					w.write = func(context.Context, string) error { time.Sleep(2 * time.Second); return nil }
				})
				time.Sleep(3 * time.Second)
			}, map[string]float64{
				"herald_allocator_pending_writes":             0,
				"herald_allocator_status_writes_total ok":     7,
				"herald_allocator_status_write_seconds count": 9,
				"herald_allocator_status_write_seconds sum":   2,
				"herald_allocator_status_delay_seconds count": 7,
				"herald_allocator_status_delay_seconds sum":   2.3, // 0.1 s and then 0.2 s until it was tried again
			}},
			{"a Service is another before its status is written", func() {
				w.set(func() { w.write = answers(cluster.ErrGone) })
				w.edit(func(all *[]cluster.Service) { (*all)[4].Condition.Message = "not ours" })
			}, map[string]float64{
				"herald_allocator_pending_writes":             1, // of what it is now
				"herald_allocator_status_writes_total gone":   1,
				"herald_allocator_status_write_seconds count": 10,
			}},
		} {
			before := servetest.Series(t, reg)
			row.do()
			synctest.Wait()
			if d := cmp.Diff(row.want, servetest.Changed(before, servetest.Series(t, reg))); d != "" {
				t.Errorf("%s (-want +got):\n%s", row.desc, d)
			}
		}
		before = servetest.Series(t, reg)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		gone := servetest.Changed(before, servetest.Series(t, reg))
		maps.DeleteFunc(gone, func(name string, v float64) bool {
			return v == servetest.Absent && (strings.HasPrefix(name, "herald_allocator_services ") || strings.HasPrefix(name, "herald_allocator_pool_") || strings.HasPrefix(name, "herald_config_"))
		})
		if d := cmp.Diff(map[string]float64{"herald_allocator_leader": 0, "herald_allocator_pending_writes": 0}, gone); d != "" {
			t.Errorf("it leads no more; of what it knew of the cluster, nothing may be left (-want +got):\n%s", d)
		}
		for name := range servetest.Series(t, reg) {
			if strings.HasPrefix(name, "herald_config_") || strings.HasPrefix(name, "herald_allocator_pool_") || strings.HasPrefix(name, "herald_allocator_services") {
				t.Errorf("%s is there although it does not lead", name)
			}
		}
	})
}
