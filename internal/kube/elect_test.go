package kube_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/kube/kubetest"
)

// candidate runs an election until its stop function is called, which returns
// when the candidate has gone.
func candidate(t *testing.T, c *kube.Client, name string, lead func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Elect(ctx, kube.Election{Name: "lease", Identity: name}, lead) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func TestLeadershipIsHandedOverOnlyAfterTheLeaderHasStopped(t *testing.T) {
	s := kubetest.Shared(t)
	c := newClient(t, s, s.Namespace(t))
	var leaders, max atomic.Int32
	lead := func(ctx context.Context) error {
		if n := leaders.Add(1); n > max.Load() {
			max.Store(n)
		}
		<-ctx.Done()
		time.Sleep(300 * time.Millisecond) // a last write
		leaders.Add(-1)
		return nil
	}
	stopA := candidate(t, c, "a", lead)
	kubetest.Eventually(t, 5*time.Second, "a leads", func() bool { return leaders.Load() == 1 })
	candidate(t, c, "b", lead)
	time.Sleep(2 * time.Second)
	if err := stopA(); err != nil {
		t.Fatal(err)
	}
	took := kubetest.Eventually(t, 5*time.Second, "b leads", func() bool { return leaders.Load() == 1 })
	t.Logf("handed over %v after the leader had gone", took)
	if max.Load() != 1 {
		t.Errorf("%d leaders at once", max.Load())
	}
}

// A renewal that arrived although its answer was not waited for leaves the leader
// with an old version of the Lease; it is given back all the same.
func TestTheLeaseIsGivenBackInSpiteOfALateRenewal(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	leading := make(chan struct{})
	stop := candidate(t, newClient(t, s, ns), "a", func(ctx context.Context) error {
		close(leading)
		<-ctx.Done()
		patch := `{"metadata":{"labels":{"late":"renewal"}}}`
		_, err := s.Admin.CoordinationV1().Leases(ns).Patch(context.WithoutCancel(ctx), "lease", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	})
	<-leading
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	lease, err := s.Admin.CoordinationV1().Leases(ns).Get(t.Context(), "lease", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if holder := *lease.Spec.HolderIdentity; holder != "" {
		t.Errorf("the lease is still held by %q", holder)
	}
}

func TestLeaderStopsAtOnceWhenAnotherHoldsTheLease(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	var leading atomic.Bool
	candidate(t, newClient(t, s, ns), "a", func(ctx context.Context) error {
		leading.Store(true)
		<-ctx.Done()
		leading.Store(false)
		return nil
	})
	kubetest.Eventually(t, 5*time.Second, "a leads", leading.Load)
	// somebody's label is a conflict for the next renewal, but no loss
	leases := s.Admin.CoordinationV1().Leases(ns)
	patch := func(body string) {
		if _, err := leases.Patch(t.Context(), "lease", types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch(`{"metadata":{"labels":{"a":"b"}}}`)
	time.Sleep(2500 * time.Millisecond)
	if !leading.Load() {
		t.Fatal("lost to a label")
	}
	patch(`{"spec":{"holderIdentity":"b"}}`)
	took := kubetest.Eventually(t, 3*time.Second, "a has stopped", func() bool { return !leading.Load() })
	t.Logf("stopped after %v", took)
}

func TestElectionEndsWithTheLeadersError(t *testing.T) {
	s := kubetest.Shared(t)
	c := newClient(t, s, s.Namespace(t))
	want := errors.New("broken")
	err := c.Elect(t.Context(), kube.Election{Name: "lease", Identity: "a"}, func(context.Context) error { return want })
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}
