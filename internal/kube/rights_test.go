package kube_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/kube/kubetest"
)

// With the rights that the manifests give it, a speaker can watch all that it
// needs and send Events, and it can write nothing else.
func TestRightsOfTheSpeaker(t *testing.T) {
	s := kubetest.Shared(t)
	root, err := kubetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "apply", "-k", filepath.Join(root, "manifests", "base"))
	c, err := kube.New(kube.Options{
		Kubeconfig: s.ServiceAccount("herald-system", "herald-speaker"), Namespace: "herald-system", UserAgent: "herald-speaker",
	})
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t, c, kube.WatchOptions{Services: true, EndpointSlices: true, Nodes: true, ConfigMap: "herald-accepted"})
	ns := s.Namespace(t)
	svc := newService(t, s, w, ns, "web")
	if err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("may write statuses: %v", err)
	}
	if err := c.PublishConfigMap(t.Context(), "herald-accepted", nil, nil); err == nil {
		t.Error("may write the configuration")
	}

	if gone, err := c.DaemonSetGone(t.Context(), "herald-speaker"); gone || err != nil {
		t.Errorf("its DaemonSet is gone: %v, %v", gone, err)
	}
	if _, err := c.DaemonSetGone(t.Context(), "another"); err == nil {
		t.Error("may look at other DaemonSets")
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.RunEvents(ctx) }()
	defer func() { cancel(); <-done }()
	for range 3 {
		c.Event(svc.Ref(), kube.Normal, "Tested", "said once")
	}
	c.Event(svc.Ref(), kube.Warning, "Tested", "said as well")
	events := func() int {
		list, err := s.Admin.EventsV1().Events(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	kubetest.Eventually(t, 5*time.Second, "two Events", func() bool { return events() == 2 })
	time.Sleep(200 * time.Millisecond)
	if n := events(); n != 2 {
		t.Errorf("%d Events", n)
	}
}
