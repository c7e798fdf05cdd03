package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/heraldlb/herald/internal/kube/kubetest"
	"github.com/heraldlb/herald/internal/serve/servetest"
)

func pool(ranges ...string) string {
	return "apiVersion: heraldlb.io/v1\npools:\n- name: public\n  ranges: [" + strings.Join(ranges, ", ") + "]\n"
}

// served creates a Service and waits for its address. It returns how long that
// took, as a client that watches sees it.
func served(t *testing.T, s *kubetest.Server, ns, name string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w, err := s.Admin.CoreV1().Services(ns).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	begin := time.Now()
	s.Create(t, kubetest.LoadBalancer(ns, name))
	for e := range w.ResultChan() {
		svc, ok := e.Object.(*corev1.Service)
		if ok && e.Type != watch.Deleted && len(svc.Status.LoadBalancer.Ingress) > 0 {
			return time.Since(begin)
		}
	}
	t.Fatalf("Service %s has no address after %v", name, time.Since(begin))
	return 0
}

func TestDualStackServiceGetsItsAddressesAndConditionAndEvent(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("198.51.100.0/24", "2001:db8::/112"))
	r := start(t, s, "a")
	svc := kubetest.LoadBalancer(ns, "web")
	policy := corev1.IPFamilyPolicyRequireDualStack
	svc.Spec.IPFamilyPolicy = &policy
	s.Create(t, svc)
	kubetest.Eventually(t, 10*time.Second, "two addresses", func() bool {
		return len(strings.Fields(statuses(t, s, ns)["web"])) == 2
	})
	kubetest.Eventually(t, 5*time.Second, "an Event", func() bool {
		return strings.Contains(s.Kubectl(t, "events", "-n", ns, "--for=service/web"), "Allocated")
	})
	s.Kubectl(t, "wait", "-n", ns, "service/web", "--for=condition=heraldlb.io/Allocated", "--timeout=5s")
	accepted := s.Kubectl(t, "get", "-n", system, "configmap", "herald-accepted", "-o", "yaml")
	if !strings.Contains(accepted, "heraldlb.io/config-hash") || !strings.Contains(accepted, "198.51.100.0") {
		t.Errorf("accepted: %s", accepted)
	}
	kubetest.Eventually(t, 15*time.Second, "a report", func() bool {
		report := s.Kubectl(t, "get", "-n", system, "configmap", "herald-status", "-o", `jsonpath={.data.status\.yaml}`)
		return strings.Contains(report, "family: IPv4\n      inUse: 1\n") && strings.Contains(report, "Allocated: 1\n")
	})
	if state := r.get("/state"); !strings.Contains(state, `"Allocated": 1`) {
		t.Errorf("/state: %s", state)
	}
	if ready := r.get("/readyz"); !strings.HasPrefix(ready, "ok") {
		t.Errorf("/readyz: %s", ready)
	}
	times := make([]string, 0, 20)
	for i := range 20 {
		times = append(times, served(t, s, ns, fmt.Sprint("one-", i)).Round(time.Millisecond/10).String())
	}
	t.Logf("from creation to address, one Service at a time: %s", strings.Join(times, " "))
}

func TestFiveHundredServicesAtOnce(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("10.64.0.0/16"))
	r := start(t, s, "a")
	kubetest.Eventually(t, 10*time.Second, "a leads", r.leads)
	const n = 500
	begin := time.Now()
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			_, err := s.Admin.CoreV1().Services(ns).Create(t.Context(), kubetest.LoadBalancer(ns, fmt.Sprintf("s%03d", i)), metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	created := time.Since(begin)
	took := kubetest.Eventually(t, 30*time.Second, "addresses", func() bool { return len(statuses(t, s, ns)) == n })
	distinct(t, statuses(t, s, ns))
	t.Logf("%d Services created in %v; all have addresses %v later", n, created, took)
	if took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// Everything is killed in turn. No address may change, and nothing be written
// that says nothing new.
func TestAddressesOutliveTheAllocators(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("10.64.0.0/24"))
	a, b := start(t, s, "a"), start(t, s, "b")
	for i := range 20 {
		served(t, s, ns, fmt.Sprintf("s%02d", i))
	}
	before := versions(t, s, ns)
	unchanged := func(when string) {
		t.Helper()
		if now := versions(t, s, ns); !maps.Equal(now, before) {
			t.Errorf("%s: statuses were written", when)
		}
		before = versions(t, s, ns)
	}
	leader, follower := a, b
	if b.leads() {
		leader, follower = b, a
	}
	if !leader.leads() || follower.leads() {
		t.Fatalf("a leads: %v, b leads: %v; want one of them", a.leads(), b.leads())
	}
	leader.end(syscall.SIGTERM)
	took := served(t, s, ns, "after-term")
	t.Logf("leader asked to go: next Service served after %v", took)
	if took > 3*time.Second {
		t.Errorf("handing over took %v", took)
	}
	before = versions(t, s, ns)

	c := start(t, s, "c")
	kubetest.Eventually(t, 10*time.Second, "c is ready", func() bool { return strings.HasPrefix(c.get("/readyz"), "ok") })
	if !follower.leads() || c.leads() {
		t.Fatal("the one that has served after the handover does not lead")
	}
	follower.end(syscall.SIGKILL)
	took = served(t, s, ns, "after-kill")
	t.Logf("leader killed: next Service served after %v", took)
	if took > 12*time.Second {
		t.Errorf("fail-over took %v", took)
	}
	before = versions(t, s, ns)

	c.end(syscall.SIGKILL)
	time.Sleep(time.Second)
	unchanged("all are dead")
	c = start(t, s, "c") // the same pod: its Lease is its own
	took = served(t, s, ns, "after-all")
	t.Logf("the only one killed and started again: next Service served after %v", took)
	delete(before, "after-all")
	now := versions(t, s, ns)
	delete(now, "after-all")
	if !maps.Equal(now, before) {
		t.Error("the restart has written statuses")
	}
	distinct(t, statuses(t, s, ns))
}

func TestAPIServerIsAwayForHalfAMinute(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("10.64.0.0/24"))
	start(t, s, "a").outage = true
	start(t, s, "b").outage = true
	for i := range 10 {
		served(t, s, ns, fmt.Sprintf("s%02d", i))
	}
	before := versions(t, s, ns)
	s.KillAPI()
	time.Sleep(30 * time.Second)
	if err := s.StartAPI(); err != nil {
		t.Fatal(err)
	}
	took := served(t, s, ns, "after")
	t.Logf("created as soon as the API server was ready: address after %v", took)
	if took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	now := versions(t, s, ns)
	delete(now, "after")
	if !maps.Equal(now, before) {
		t.Error("the outage has changed statuses")
	}
	distinct(t, statuses(t, s, ns))
}

func TestBrokenConfigurationIsSaidEverywhere(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("10.64.0.1-10.64.0.2"))
	r := start(t, s, "a")
	served(t, s, ns, "one")
	configure(t, s, "apiVersion: heraldlb.io/v1\npools: [{name: public, ranges: [10.64.0.0/33], colour: red}]\n")
	kubetest.Eventually(t, 5*time.Second, "the metric", func() bool {
		v, ok := servetest.Value(r.get("/metrics"), "herald_config_valid")
		return ok && v == 0
	})
	if n, _ := servetest.Value(r.get("/metrics"), "herald_config_problems"); n != 2 {
		t.Errorf("the metric counts %v faults, want 2", n)
	}
	served(t, s, ns, "two") // of the last good configuration
	s.Create(t, kubetest.LoadBalancer(ns, "three"))
	kubetest.Eventually(t, 5*time.Second, "the condition", func() bool {
		return strings.Contains(s.Kubectl(t, "get", "-n", ns, "service/three", "-o", "yaml"), "newest configuration is broken")
	})
	kubetest.Eventually(t, 5*time.Second, "the Event", func() bool {
		events := s.Kubectl(t, "events", "-n", system, "--for=configmap/herald")
		return strings.Contains(events, "ConfigurationBroken") && strings.Contains(events, "colour")
	})
	configure(t, s, pool("10.64.0.1-10.64.0.3"))
	kubetest.Eventually(t, 5*time.Second, "an address for the third", func() bool { return statuses(t, s, ns)["three"] != "" })
	if v, _ := servetest.Value(r.get("/metrics"), "herald_config_valid"); v != 1 {
		t.Errorf("the metric says %v of a valid configuration", v)
	}
}
