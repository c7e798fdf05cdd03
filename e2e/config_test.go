package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

// broken are configurations that replace the good one while a Service is
// announced. internal/config tests the wording of many more.
var broken = map[string]string{
	"not YAML":          "apiVersion: heraldlb.io/v1\npools: [",
	"empty":             " ",
	"wrong apiVersion":  strings.Replace(stage.Config, "heraldlb.io/v1", "heraldlb.io/v2", 1),
	"unknown key":       strings.Replace(stage.Config, "ranges:", "range:", 1),
	"overlapping pools": stage.Config + "- name: again\n  ranges: [10.99.16.0/24]\n",
	"bad ASN":           strings.Replace(stage.Config, "asn: 64513", "asn: 0", 1),
}

func TestABrokenConfigurationLosesNothing(t *testing.T) {
	begin(t)
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "steady", map[string]int{"n1": 1, "n2": 1}))
	must(t, herald.Create(ctx, stage.Service{Name: "steady"}))
	addrs, err := herald.WaitAddrs(ctx, "steady", 2)
	must(t, err)
	equal := map[string]int{"n1": 50, "n2": 50}
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, 15*time.Second, a, equal))
	}
	t.Cleanup(func() { must(t, herald.Configure(context.Background(), stage.Config)) })
	monitor, err := herald.Monitor(ctx)
	must(t, err)
	defer monitor.Stop()
	for name, text := range broken {
		t.Run(name, func(t *testing.T) { checkRefused(t, text) })
	}
	must(t, monitor.Alive())
	for _, a := range addrs {
		if e := monitor.Events(a.String()); len(e) != 0 {
			t.Errorf("the route to %s changed: %+v", a, e)
		}
		must(t, herald.WaitWeights(ctx, time.Second, a, equal))
	}
	// The last good configuration is still at work for new Services.
	must(t, herald.Create(ctx, stage.Service{Name: "late"}))
	_, err = herald.WaitAddrs(ctx, "late", 2)
	must(t, err)
	must(t, herald.Delete(ctx, "late"))
}

// checkRefused applies a text and waits until the ConfigMap's Events say that it
// is refused, and the metric too.
func checkRefused(t *testing.T, text string) {
	ctx := t.Context()
	before := events(t, "ConfigMap", "herald")
	must(t, herald.Configure(ctx, text))
	must(t, stage.Wait(ctx, 10*time.Second, func() error {
		for line := range strings.Lines(events(t, "ConfigMap", "herald")) {
			if !strings.Contains(before, line) && strings.Contains(line, "Warning") {
				return nil
			}
		}
		return fmt.Errorf("no new Warning on ConfigMap herald; its Events are\n%s", events(t, "ConfigMap", "herald"))
	}))
	waitAllocators(t, func(m stage.Metrics) bool {
		return m.Sum("herald_config_valid") == 0 && m.Sum("herald_config_problems") > 0
	})
	must(t, herald.Configure(ctx, stage.Config))
	waitAllocators(t, func(m stage.Metrics) bool {
		return m.Sum("herald_config_valid") == 1 && m.Sum("herald_config_problems") == 0
	})
}

// events are the Events about an object, one a line with type, reason and note.
func events(t *testing.T, kind, name string) string {
	t.Helper()
	out, err := herald.Kubectl(t.Context(), "get", "events.v1.events.k8s.io", "-A",
		"-o", `jsonpath={range .items[?(@.regarding.name=="`+name+`")]}{.regarding.kind} {.metadata.uid} {.type} {.reason} {.note}{"\n"}{end}`)
	must(t, err)
	var lines []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, kind+" ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// waitAllocators waits until the metrics of the one that leads are right.
func waitAllocators(t *testing.T, right func(stage.Metrics) bool) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 10*time.Second, func() error {
		all, err := herald.AllocatorMetrics(t.Context())
		if err != nil {
			return err
		}
		text := ""
		for _, m := range all {
			if m.Sum("herald_allocator_leader") == 1 && right(m) {
				return nil
			}
			for line := range strings.Lines(string(m)) {
				if strings.HasPrefix(line, "herald_") && !strings.Contains(line, "_bucket") {
					text += line
				}
			}
		}
		return fmt.Errorf("the metrics of the allocators are not right:\n%s", text)
	}))
}

func TestAnExhaustedPoolServesTheNextAsSoonAsOneIsFree(t *testing.T) {
	begin(t)
	ctx := t.Context()
	tiny := map[string]string{"heraldlb.io/address-pool": "tiny"}
	must(t, herald.Create(ctx, stage.Service{Name: "first", SingleStack: true, Annotations: tiny}))
	_, err := herald.WaitAddrs(ctx, "first", 1)
	must(t, err)
	must(t, herald.Create(ctx, stage.Service{Name: "second", SingleStack: true, Annotations: tiny}))
	must(t, stage.Wait(ctx, 10*time.Second, func() error {
		v, err := herald.Status(ctx, "second")
		if err == nil && v.Reason() != "PoolExhausted" {
			err = fmt.Errorf("condition %+v, want reason PoolExhausted", v.Status.Conditions)
		}
		return err
	}))
	if e := events(t, "Service", "second"); !strings.Contains(e, "PoolExhausted") {
		t.Errorf("no Event tells it; there is\n%s", e)
	}
	tiniest := func(m stage.Metrics) bool {
		const pool = `pool="tiny"`
		return m.Sum("herald_allocator_pool_assigned", pool) == 1 && m.Sum("herald_allocator_pool_capacity", pool) == 1
	}
	waitAllocators(t, func(m stage.Metrics) bool {
		return tiniest(m) && m.Sum("herald_allocator_services", `reason="PoolExhausted"`) == 1
	})
	must(t, herald.Delete(ctx, "first"))
	freed := time.Now()
	_, err = herald.WaitAddrs(ctx, "second", 1)
	must(t, err)
	t.Logf("the freed address was given to the waiting Service after %d ms", time.Since(freed).Milliseconds())
	waitAllocators(t, func(m stage.Metrics) bool {
		ok := m.Sum("herald_allocator_status_writes_total", `result="ok"`)
		return tiniest(m) && m.Sum("herald_allocator_services", `reason="PoolExhausted"`) == 0 && ok > 0 &&
			m.Sum("herald_allocator_status_write_seconds_count") >= ok && m.Sum("herald_allocator_status_delay_seconds_count") == ok
	})
	must(t, herald.Delete(ctx, "second"))
}

// A Service that stops to be one of type LoadBalancer gives its address back.
func TestAChangeOfTypeFreesTheAddress(t *testing.T) {
	begin(t)
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "fickle", map[string]int{"n1": 1}))
	must(t, herald.Create(ctx, stage.Service{Name: "fickle", SingleStack: true}))
	addrs, err := herald.WaitAddrs(ctx, "fickle", 1)
	must(t, err)
	must(t, herald.WaitWeights(ctx, 10*time.Second, addrs[0], map[string]int{"n1": 1}))
	_, err = herald.Kubectl(ctx, "patch", "service", "fickle", "-p",
		`{"spec":{"type":"ClusterIP","externalTrafficPolicy":null,"allocateLoadBalancerNodePorts":null}}`)
	must(t, err)
	must(t, herald.WaitWeights(ctx, 5*time.Second, addrs[0], nil))
	must(t, stage.Wait(ctx, 5*time.Second, func() error {
		v, err := herald.Status(ctx, "fickle")
		if err == nil && (len(v.Addrs()) > 0 || v.Reason() != "") {
			err = fmt.Errorf("the status still says %+v", v.Status)
		}
		return err
	}))
	must(t, herald.Delete(ctx, "fickle"))
}

// Two Services share an address, and only nodes that can serve both announce it.
func TestASharedAddressIsAnnouncedWhereBothCanBeServed(t *testing.T) {
	begin(t)
	ctx := t.Context()
	share := map[string]string{"heraldlb.io/allow-shared-ip": "dns"}
	must(t, herald.RunPods(ctx, "both-a", map[string]int{"n1": 1, "n2": 1}))
	must(t, herald.RunPods(ctx, "both-b", map[string]int{"n2": 1, "n3": 1}))
	for name, proto := range map[string]string{"both-a": "TCP", "both-b": "UDP"} {
		v := stage.Service{Name: name, SingleStack: true, Annotations: share, Protocol: proto}
		must(t, herald.Create(ctx, v))
	}
	a, err := herald.WaitAddrs(ctx, "both-a", 1)
	must(t, err)
	b, err := herald.WaitAddrs(ctx, "both-b", 1)
	must(t, err)
	if a[0] != b[0] {
		t.Fatalf("addresses %s and %s, want one", a[0], b[0])
	}
	must(t, herald.WaitWeights(ctx, 10*time.Second, a[0], map[string]int{"n2": 1}))
}
