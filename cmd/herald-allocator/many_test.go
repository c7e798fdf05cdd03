package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/internal/kube/kubetest"
	"github.com/heraldlb/herald/internal/serve/servetest"
)

var services = flag.Int("services", 300, "how many Services TestManyServices makes")

// TestManyServices prints what so many Services cost on a real API server: all of
// them new to an allocator that starts, a restart, and one change.
func TestManyServices(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("10.64.0.0/16"))
	var g errgroup.Group
	g.SetLimit(32)
	for i := range *services {
		g.Go(func() error {
			_, err := s.Admin.CoreV1().Services(ns).Create(t.Context(), kubetest.LoadBalancer(ns, fmt.Sprintf("s%05d", i)), metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	writes := func(r *replica) float64 {
		v, _ := servetest.Value(r.get("/metrics"), `herald_allocator_status_writes_total{result="ok"}`)
		return v
	}
	begin := time.Now()
	r := start(t, s, "a")
	kubetest.Eventually(t, 5*time.Minute, "all addresses", func() bool { return writes(r) >= float64(*services) })
	t.Logf("%d Services, fresh: all written %v after the process was started, %v writes, %s", *services, time.Since(begin).Round(time.Millisecond), writes(r), memory(t, r))
	if n := writes(r); n != float64(*services) {
		t.Errorf("%v writes", n)
	}
	before := versions(t, s, ns)
	distinct(t, statuses(t, s, ns))
	r.end(syscall.SIGTERM)

	begin = time.Now()
	r = start(t, s, "b")
	served(t, s, ns, "after")
	t.Logf("restart: the next new Service was served %v after the start, %v writes, %s", time.Since(begin).Round(time.Millisecond), writes(r), memory(t, r))
	now := versions(t, s, ns)
	delete(now, "after")
	if !maps.Equal(now, before) {
		t.Error("the restart has written statuses")
	}
	begin = time.Now()
	annotate(t, s, ns, "s00000", "heraldlb.io/load-balancer-ips", "10.64.255.7")
	kubetest.Eventually(t, 10*time.Second, "the change", func() bool {
		svc, err := s.Admin.CoreV1().Services(ns).Get(t.Context(), "s00000", metav1.GetOptions{})
		return err == nil && svc.Status.LoadBalancer.Ingress[0].IP == "10.64.255.7"
	})
	t.Logf("one change: in the status after %v, %v writes in all", time.Since(begin).Round(time.Millisecond), writes(r))
}

// memory is what a replica has in RAM.
func memory(t *testing.T, r *replica) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return "RSS " + strings.TrimSpace(rest)
		}
	}
	return "RSS unknown"
}
