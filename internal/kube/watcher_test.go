package kube_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/kube/kubetest"
)

func newClient(t testing.TB, s *kubetest.Server, namespace string) *kube.Client {
	t.Helper()
	c, err := kube.New(kube.Options{
		Kubeconfig: s.Kubeconfig("admin", "system:masters"), Namespace: namespace, UserAgent: "herald-test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// watch runs a Watcher for the length of the test, and waits for its caches.
func watch(t testing.TB, c *kube.Client, o kube.WatchOptions) *kube.Watcher {
	t.Helper()
	w := kube.NewWatcher(c, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	kubetest.Eventually(t, 20*time.Second, "caches synced", func() bool { return w.Synced() })
	return w
}

func service(t testing.TB, w *kube.Watcher, namespace, name string) (cluster.Service, bool) {
	t.Helper()
	snap, _ := w.Snapshot()
	for _, s := range snap.Services {
		if s.Namespace == namespace && s.Name == name {
			return s, true
		}
	}
	return cluster.Service{}, false
}

func TestSnapshotShowsServiceWithEndpointsAndNodes(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{Services: true, EndpointSlices: true, Nodes: true, ConfigMap: "herald"})

	policy := corev1.IPFamilyPolicyRequireDualStack
	svc := kubetest.LoadBalancer(ns, "web")
	svc.Labels = map[string]string{"app": "web"}
	svc.Annotations = map[string]string{cluster.AnnotationPool: "public", "example.com/other": "x"}
	svc.Spec.IPFamilyPolicy = &policy
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	created := s.Create(t, svc)
	yes, no, node := true, false, "n1"
	for _, sl := range []*discoveryv1.EndpointSlice{
		slice(ns, "web-1", "web", discoveryv1.AddressTypeIPv4,
			discoveryv1.Endpoint{
				Addresses: []string{"10.0.0.2"}, NodeName: &node,
				Conditions: discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes},
			},
			discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}, NodeName: &node}),
		slice(ns, "web-2", "web", discoveryv1.AddressTypeIPv4,
			discoveryv1.Endpoint{
				Addresses: []string{"10.0.0.1"}, NodeName: &node,
				Conditions: discoveryv1.EndpointConditions{Ready: &no},
			}),
	} {
		if _, err := s.Admin.DiscoveryV1().EndpointSlices(ns).Create(t.Context(), sl, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	createNode(t, s, ns+"-n1")

	want := cluster.Service{
		Namespace: ns, Name: "web", UID: string(created.UID), Created: created.CreationTimestamp.Time,
		LoadBalancer: true, LocalOnly: true, HealthPort: uint16(created.Spec.HealthCheckNodePort),
		Labels:       map[string]string{"app": "web"},
		Annotations:  map[string]string{cluster.AnnotationPool: "public"},
		Families:     []cluster.Family{cluster.IPv4, cluster.IPv6},
		FamilyPolicy: cluster.RequireDualStack,
		Ports:        []cluster.Port{{Protocol: "TCP", Port: 80}},
		ClusterIPs:   addrs(created.Spec.ClusterIPs...),
		Endpoints: []cluster.Endpoint{
			{Addr: netip.MustParseAddr("10.0.0.1"), Node: "n1", Ready: true, Serving: true},
			{Addr: netip.MustParseAddr("10.0.0.2"), Node: "n1", Serving: true, Terminating: true},
		},
	}
	var diff string
	kubetest.Eventually(t, 5*time.Second, "Service with two endpoints", func() bool {
		got, _ := service(t, w, ns, "web")
		diff = cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}))
		return diff == ""
	})
	if diff != "" {
		t.Error(diff)
	}
	wantNode := cluster.Node{Name: ns + "-n1", Ready: true, Addrs: []netip.Addr{
		netip.MustParseAddr("10.77.0.11"), netip.MustParseAddr("fd77::11"),
	}, Taints: []string{"node.kubernetes.io/not-ready"}} // admission adds it
	kubetest.Eventually(t, 5*time.Second, "the node", func() bool {
		snap, _ := w.Snapshot()
		for _, n := range snap.Nodes {
			if n.Name == wantNode.Name {
				created := n.Created
				n.Labels, n.Created = nil, time.Time{}
				return !created.IsZero() && cmp.Equal(wantNode, n, cmpopts.EquateComparable(netip.Addr{}))
			}
		}
		return false
	})
}

func TestConfigMapIsTheNamedOneOnly(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{ConfigMap: "herald"})
	<-w.Wake() // of the caches being synced
	if _, ok := w.ConfigMap(); ok {
		t.Error("a ConfigMap before there is one")
	}
	for _, name := range []string{"other", "herald"} {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"config.yaml": name}}
		if _, err := s.Admin.CoreV1().ConfigMaps(ns).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-w.Wake():
	case <-time.After(5 * time.Second):
		t.Fatal("no wake-up")
	}
	if cm, ok := w.ConfigMap(); !ok || cm.Data["config.yaml"] != "herald" || cm.Version == "" {
		t.Errorf("got %+v, %v", cm, ok)
	}
}

func slice(ns, name, service string, family discoveryv1.AddressType, eps ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: family,
		Endpoints:   eps,
	}
}

func createNode(t testing.TB, s *kubetest.Server, name string) {
	t.Helper()
	n, err := s.Admin.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(fmt.Errorf("node %s: %w", name, err))
	}
	n.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "10.77.0.11"},
		{Type: corev1.NodeHostName, Address: name},
		{Type: corev1.NodeInternalIP, Address: "fd77::11"},
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if _, err := s.Admin.CoreV1().Nodes().UpdateStatus(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A Service carries the labels of its Namespace, as they are now.
func TestSnapshotShowsLabelsOfNamespaces(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	c := newClient(t, s, ns)
	w := watch(t, c, kube.WatchOptions{Services: true, Namespaces: true})
	svc := newService(t, s, w, ns, "web")
	if got := svc.NamespaceLabels["kubernetes.io/metadata.name"]; got != ns {
		t.Errorf("the namespace's own label is %q in %v", got, svc.NamespaceLabels)
	}
	for _, label := range []string{"team=red", "team=blue", "team-"} {
		s.Kubectl(t, "label", "--overwrite", "namespace", ns, label)
		_, want, _ := strings.Cut(label, "=")
		kubetest.Eventually(t, 5*time.Second, label, func() bool {
			svc, _ := service(t, w, ns, "web")
			return svc.NamespaceLabels["team"] == want
		})
	}
	// The labels are no part of what a write depends on.
	svc, _ = service(t, w, ns, "web")
	if err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated); err != nil {
		t.Error(err)
	}
	if err := kube.NewWatcher(c, kube.WatchOptions{Namespaces: true}).Run(t.Context()); err == nil {
		t.Error("Namespaces are watched without Services")
	}
}
