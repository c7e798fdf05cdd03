package sessions

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// of are the labels of the one session.
var of = []string{`address="` + lab.Router4 + `"`, `peer="router"`}

// on1 waits until a metric of the speaker on n1 is right.
func on1(t *testing.T, right func(float64) bool, name string, labels ...string) {
	t.Helper()
	must(t, herald.WaitMetric(t.Context(), 30*time.Second, "n1", right, name, labels...))
}

func metrics1(t *testing.T) stage.Metrics {
	t.Helper()
	m, err := herald.SpeakerMetrics(t.Context(), "n1")
	must(t, err)
	return m
}

func router(t *testing.T, lines ...string) {
	t.Helper()
	_, err := herald.Vtysh(t.Context(), append([]string{"configure terminal", "router bgp 64512"}, lines...)...)
	must(t, err)
}

// What a session really is can be read from the metrics: each changes when that
// happens which it is about.
func TestMetricsOfASession(t *testing.T) {
	begin(t)
	ctx := t.Context()
	serve(t, "metrics", on("n1", "n2", "n3"), equal)
	on1(t, stage.Is(1), "herald_bgp_session_up", of...)
	on1(t, stage.Is(1), "herald_bgp_bfd_up", of...)
	m := metrics1(t)
	for name, want := range map[string]float64{
		"herald_speaker_synced": 1, "herald_speaker_config_info": 1, "herald_speaker_config_refused": 0, "herald_speaker_apply_failed": 0,
		"herald_bgp_routes_withheld": 0, "herald_bgp_peers_refused": 0, "herald_speaker_not_forwarded": 0,
	} {
		if v := m.Sum(name); v != want || !m.Has(name) {
			t.Errorf("%s is %v, there: %v; want %v", name, v, m.Has(name), want)
		}
	}

	announced, routes := m.Sum("herald_speaker_decisions", `reason="Announced"`), m.Sum("herald_bgp_routes_announced", of...)
	if announced == 0 || routes == 0 {
		t.Errorf("%v decisions to announce and %v routes, but a Service is served", announced, routes)
	}
	must(t, herald.Create(ctx, stage.Service{Name: "metrics-more", App: "metrics", SingleStack: true}))
	on1(t, stage.Is(announced+1), "herald_speaker_decisions", `reason="Announced"`)
	on1(t, stage.Is(routes+1), "herald_bgp_routes_announced", of...)

	// The router does no IPv6: what should get there over it does not.
	router(t, "address-family ipv6 unicast", "no neighbor nodes activate")
	on1(t, stage.Is(1), "herald_bgp_routes_withheld", of...)
	router(t, "address-family ipv6 unicast", "neighbor nodes activate")
	on1(t, stage.Is(0), "herald_bgp_routes_withheld", of...)

	router(t, "no neighbor nodes bfd")
	on1(t, stage.Is(0), "herald_bgp_bfd_up", of...)
	router(t, "neighbor nodes bfd")
	on1(t, stage.Is(1), "herald_bgp_bfd_up", of...)

	const since, failed = "herald_bgp_session_since_timestamp_seconds", "herald_bgp_session_last_error_timestamp_seconds"
	up, killed := metrics1(t).Sum(since, of...), float64(time.Now().UnixMilli())/1000
	must(t, herald.KillRouter())
	on1(t, stage.Is(0), "herald_bgp_session_up", of...)
	on1(t, stage.Is(0), "herald_bgp_routes_announced", of...)
	if down := metrics1(t).Sum(since, of...); down <= up || down < killed {
		t.Errorf("the session is up since %v, and down since %v; the router was killed at %v", up, down, killed)
	}
	on1(t, stage.Above(killed), failed, of...)
	must(t, herald.StartRouter(ctx))
	on1(t, stage.Is(1), "herald_bgp_session_up", of...)
	on1(t, stage.Is(routes+1), "herald_bgp_routes_announced", of...)
}

// hash is that of the configuration in force on n1.
func hash(t *testing.T) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(metrics1(t)), "\nherald_speaker_config_info{hash=\"")
	text, _, _ := strings.Cut(rest, `"`)
	if !ok || text == "" {
		t.Fatal("no hash of a configuration in the metrics")
	}
	return text
}

func TestMetricsOfAConfiguration(t *testing.T) {
	begin(t)
	ctx := t.Context()
	t.Cleanup(func() { must(t, herald.Configure(context.Background(), config)) })
	good := hash(t)
	const another = "- name: another\n  addressFrom: {nodeAnnotation: example.com/nowhere}\n  asn: 64512\nbgp:\n"
	must(t, herald.Configure(ctx, strings.Replace(config, "bgp:\n", another, 1)))
	on1(t, stage.Is(1), "herald_bgp_peers_refused")
	if now := hash(t); now == good || metrics1(t).Sum("herald_speaker_config_info") != 1 {
		t.Errorf("the configuration is another, but its hash is %s, as before, or there are two", now)
	}
	// Without the right to add addresses to the node, paths cannot be weights.
	const paths = "  bfdProfile: default\n  weights: addPath\n  addPath: {prefixes: [10.77.0.64/28, 10.77.0.80/28, 10.77.0.96/28]}\n"
	serve(t, "unapplied", on("n1"), map[string]int{"n1": 1})
	must(t, herald.Configure(ctx, strings.Replace(config, "  bfdProfile: default\n", paths, 1)))
	on1(t, stage.Is(0), "herald_bgp_peers_refused")
	must(t, herald.RunPod(ctx, lab.PodSpec{Name: "unapplied-n1-1", Node: "n1", Labels: map[string]string{"app": "unapplied"}}))
	on1(t, stage.Is(1), "herald_speaker_apply_failed")
	must(t, herald.Configure(ctx, config))
	on1(t, stage.Is(0), "herald_speaker_apply_failed")

	// What no allocator has accepted is in the ConfigMap that speakers read.
	_, err := herald.Kubectl(ctx, "-n", "herald-system", "patch", "configmap", "herald-accepted", "--type=merge", "-p", `{"data":{"config.yaml":"apiVersion: heraldlb.io/v9"}}`)
	must(t, err)
	on1(t, stage.Is(1), "herald_speaker_config_refused")
	if now := hash(t); now != good {
		t.Errorf("the configuration %s is in force, want the last good one, %s", now, good)
	}
	must(t, herald.Configure(ctx, config+"nodes: {drainTime: 6s}\n"))
	on1(t, stage.Is(0), "herald_speaker_config_refused")
}

// A weight that waits is counted for as long as it does.
func TestMetricOfAHeldWeight(t *testing.T) {
	begin(t)
	ctx := t.Context()
	a := serve(t, "heldback", on("n1", "n2"), map[string]int{"n1": 50, "n2": 50})[0]
	time.Sleep(4 * time.Second) // past settleTime
	on1(t, stage.Is(0), "herald_speaker_weights_held")
	for i := range 2 {
		must(t, herald.RunPod(ctx, lab.PodSpec{Name: fmt.Sprintf("heldback-n1-%d", i+1), Node: "n1", Labels: map[string]string{"app": "heldback"}}))
	}
	on1(t, stage.Above(0), "herald_speaker_weights_held")
	must(t, herald.WaitWeights(ctx, 30*time.Second, a, map[string]int{"n1": 75, "n2": 25}))
	on1(t, stage.Is(0), "herald_speaker_weights_held")
}
