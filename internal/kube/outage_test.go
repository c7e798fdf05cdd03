package kube_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/kube/kubetest"
)

// The API server is gone for 30 s. What was known stays known, and a Service
// that is created when it is back is heard of as soon as it is.
func TestWatchAfterAnOutage(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	c := newClient(t, s, ns)
	w := watch(t, c, kube.WatchOptions{Services: true, EndpointSlices: true, Nodes: true, ConfigMap: "herald"})
	newService(t, s, w, ns, "before")
	var leading atomic.Bool
	candidate(t, c, "a", func(ctx context.Context) error {
		leading.Store(true)
		<-ctx.Done()
		leading.Store(false)
		return nil
	})
	kubetest.Eventually(t, 5*time.Second, "a leads", leading.Load)

	s.KillAPI()
	kubetest.Eventually(t, 7*time.Second, "the leader stops", func() bool { return !leading.Load() })
	time.Sleep(25 * time.Second)
	if _, ok := service(t, w, ns, "before"); !ok || !w.Synced() {
		t.Error("the outage has made us forget")
	}
	if err := s.StartAPI(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	newService(t, s, w, ns, "after")
	t.Logf("Service heard of %v after the server was ready", time.Since(begin))
	kubetest.Eventually(t, 5*time.Second, "a leads again", leading.Load)
	t.Logf("leader again %v after the server was ready", time.Since(begin))
	if err := w.CatchUp(t.Context()); err != nil {
		t.Error(err)
	}
	if since := time.Since(begin); since > 4*time.Second {
		t.Errorf("took %v", since)
	}
}

// A server that hangs closes no connection. It must be noticed nevertheless.
func TestWatchOfAServerThatHangs(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{Services: true})
	svc := newService(t, s, w, ns, "web")
	thaw := s.FreezeAPI()
	begin := time.Now()
	err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated)
	if took := time.Since(begin); err == nil || took > 8*time.Second {
		t.Errorf("write to a server that hangs: %v after %v", err, took)
	}
	time.Sleep(3 * time.Second)
	thaw()
	begin = time.Now()
	newService(t, s, w, ns, "after")
	t.Logf("Service heard of %v after the server went on", time.Since(begin))
}

func TestCatchUpWaitsForEveryWriteBeforeIt(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{Services: true})
	for i := range 50 {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26))
		s.Create(t, kubetest.LoadBalancer(ns, name))
		if err := w.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ok := service(t, w, ns, name); !ok {
			t.Fatalf("Service %d is not in the Snapshot", i)
		}
	}
}
