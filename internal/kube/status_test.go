package kube_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/kube/kubetest"
)

var allocated = cluster.Condition{Allocated: true, Reason: "Allocated", Message: "has it"}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// newService creates a Service and waits until the Watcher knows it.
func newService(t *testing.T, s *kubetest.Server, w *kube.Watcher, ns, name string) cluster.Service {
	t.Helper()
	s.Create(t, kubetest.LoadBalancer(ns, name))
	return waitService(t, w, ns, name)
}

func waitService(t *testing.T, w *kube.Watcher, ns, name string) (svc cluster.Service) {
	t.Helper()
	kubetest.Eventually(t, 5*time.Second, "Service "+name, func() (ok bool) {
		svc, ok = service(t, w, ns, name)
		return ok
	})
	return svc
}

func get(t *testing.T, s *kubetest.Server, ns, name string) *corev1.Service {
	t.Helper()
	svc, err := s.Admin.CoreV1().Services(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func ingress(svc *corev1.Service) (ips []string) {
	for _, in := range svc.Status.LoadBalancer.Ingress {
		ips = append(ips, in.IP)
	}
	return ips
}

func TestApplyStatusWritesAddressAndConditionAndNothingElse(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{Services: true})
	svc := newService(t, s, w, ns, "web")

	other := `{"status":{"conditions":[{"type":"example.com/Other","status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
	if _, err := s.Admin.CoreV1().Services(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(other), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, 5*time.Second, "status", func() bool {
		err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1", "2001:db8::1"), allocated)
		// Until the watch tells of the write above, this one is refused.
		if err != nil && !errors.Is(err, cluster.ErrGone) {
			t.Fatal(err)
		}
		return err == nil
	})
	if now, _ := service(t, w, ns, "web"); len(now.Ingress) != 2 || now.Condition != allocated {
		t.Errorf("the Snapshot right after the write lacks it: %+v", now)
	}
	got := get(t, s, ns, "web")
	if ips := ingress(got); len(ips) != 2 || ips[0] != "192.0.2.1" || ips[1] != "2001:db8::1" {
		t.Errorf("ingress %v", ips)
	}
	if mode := got.Status.LoadBalancer.Ingress[0].IPMode; mode == nil || *mode != corev1.LoadBalancerIPModeVIP {
		t.Errorf("ipMode %v", mode)
	}
	first := meta.FindStatusCondition(got.Status.Conditions, cluster.ConditionAllocated)
	if first == nil || first.Status != metav1.ConditionTrue || first.ObservedGeneration != got.Generation {
		t.Errorf("condition %+v, generation %d", first, got.Generation)
	}
	t.Logf("generation of a new Service: %d", got.Generation)

	time.Sleep(1100 * time.Millisecond) // times in the API have whole seconds
	again := allocated
	again.Message = "still has it"
	svc, _ = service(t, w, ns, "web")
	if err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), again); err != nil {
		t.Fatal(err)
	}
	got = get(t, s, ns, "web")
	second := meta.FindStatusCondition(got.Status.Conditions, cluster.ConditionAllocated)
	if !second.LastTransitionTime.Equal(&first.LastTransitionTime) || second.Message != again.Message {
		t.Errorf("before %+v, after %+v", first, second)
	}
	if !meta.IsStatusConditionTrue(got.Status.Conditions, "example.com/Other") {
		t.Error("the other condition is gone")
	}

	svc, _ = service(t, w, ns, "web")
	if err := w.ReleaseStatus(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	got = get(t, s, ns, "web")
	if len(ingress(got)) != 0 || len(got.Status.Conditions) != 1 || got.Status.Conditions[0].Type != "example.com/Other" {
		t.Errorf("after release: %+v", got.Status)
	}
}

func TestStatusThatAnotherManagerWrote(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{Services: true})
	theirs := `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.9"}]}}}`
	for name, tt := range map[string]struct {
		write func(cluster.Service) error
		want  []string
	}{
		"replaced": {func(svc cluster.Service) error {
			return w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated)
		}, []string{"192.0.2.1"}},
		"cleared, since the Service is ours and has none": {func(svc cluster.Service) error {
			return w.ApplyStatus(t.Context(), svc, nil, cluster.Condition{Reason: "PoolExhausted"})
		}, nil},
		"adopted, then given back": {func(svc cluster.Service) error {
			err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated)
			svc, _ = service(t, w, ns, svc.Name)
			return errors.Join(err, w.ReleaseStatus(t.Context(), svc))
		}, nil},
		"left to its owner, with a condition of ours beside it": {func(svc cluster.Service) error {
			if svc.StatusOf != "another-controller" {
				t.Errorf("the status is of %q", svc.StatusOf)
			}
			return w.ApplyCondition(t.Context(), svc, cluster.Condition{Reason: "PoolExhausted"})
		}, []string{"192.0.2.9"}},
		"left alone on release": {func(svc cluster.Service) error {
			return w.ReleaseStatus(t.Context(), svc)
		}, []string{"192.0.2.9"}},
	} {
		t.Run(name, func(t *testing.T) {
			obj := kubetest.LoadBalancer(ns, "")
			obj.GenerateName = "web-"
			created := s.Create(t, obj)
			if _, err := s.Admin.CoreV1().Services(ns).Patch(t.Context(), created.Name, types.MergePatchType, []byte(theirs),
				metav1.PatchOptions{FieldManager: "another-controller"}, "status"); err != nil {
				t.Fatal(err)
			}
			var svc cluster.Service
			kubetest.Eventually(t, 5*time.Second, "the status of another", func() bool {
				svc = waitService(t, w, ns, created.Name)
				return len(svc.Ingress) > 0
			})
			if err := tt.write(svc); err != nil {
				t.Fatal(err)
			}
			if got := ingress(get(t, s, ns, created.Name)); len(got) != len(tt.want) || len(got) == 1 && got[0] != tt.want[0] {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTypeChangeLosesTheAddress(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{Services: true})
	svc := newService(t, s, w, ns, "web")
	if err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated); err != nil {
		t.Fatal(err)
	}
	change := `{"spec":{"type":"ClusterIP","allocateLoadBalancerNodePorts":null,"externalTrafficPolicy":null}}`
	if _, err := s.Admin.CoreV1().Services(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(change), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, 5*time.Second, "the new type", func() bool {
		svc, _ = service(t, w, ns, "web")
		return !svc.LoadBalancer
	})
	if err := w.ReleaseStatus(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, ns, "web").Status; len(got.LoadBalancer.Ingress) != 0 || len(got.Conditions) != 0 {
		t.Errorf("status %+v", got)
	}
}

func TestWriteToAServiceThatIsGone(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{Services: true})
	svc := newService(t, s, w, ns, "web")
	if err := s.Admin.CoreV1().Services(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated); !errors.Is(err, cluster.ErrGone) {
		t.Errorf("deleted: %v", err)
	}
	s.Create(t, kubetest.LoadBalancer(ns, "web"))
	if err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated); !errors.Is(err, cluster.ErrGone) {
		t.Errorf("made anew under its name: %v", err)
	}
	if got := ingress(get(t, s, ns, "web")); len(got) != 0 {
		t.Errorf("the new Service has %v", got)
	}
}

func TestWriteWithoutTheRight(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	s.Create(t, kubetest.LoadBalancer(ns, "web"))
	c, err := kube.New(kube.Options{Kubeconfig: s.Kubeconfig("nobody"), Namespace: ns, UserAgent: "herald-test"})
	if err != nil {
		t.Fatal(err)
	}
	w := kube.NewWatcher(c, kube.WatchOptions{})
	svc := cluster.Service{Namespace: ns, Name: "web"}
	if err := w.ApplyStatus(t.Context(), svc, nil, allocated); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

// A write that was confirmed shows in the very next Snapshot, however far behind
// the watch is: 500 times, with no wait between write and look.
func TestSnapshotShowsOwnWritesAtOnce(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	w := watch(t, newClient(t, s, ns), kube.WatchOptions{Services: true})
	svc := newService(t, s, w, ns, "web")
	addr := netip.MustParseAddr("192.0.2.1")
	for range 500 {
		if err := w.ApplyStatus(t.Context(), svc, []netip.Addr{addr}, allocated); err != nil {
			t.Fatal(err)
		}
		if svc, _ = service(t, w, ns, "web"); len(svc.Ingress) != 1 || svc.Ingress[0] != addr {
			t.Fatalf("wrote %v, see %v", addr, svc.Ingress)
		}
		addr = addr.Next()
	}
}

// A write is for the Service as it was handed over. Whether this process has heard
// of the change or only the server knows of it, nothing is written.
func TestAWriteForAServiceThatHasChanged(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	ctx, pause := context.WithCancel(t.Context())
	w := kube.NewWatcher(newClient(t, s, ns), kube.WatchOptions{Services: true})
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	defer pause()
	kubetest.Eventually(t, 10*time.Second, "sync", w.Synced)
	svc := newService(t, s, w, ns, "web")

	annotate := func(key string) {
		t.Helper()
		if _, err := s.Admin.CoreV1().Services(ns).Patch(t.Context(), "web", types.MergePatchType,
			[]byte(`{"metadata":{"annotations":{"`+key+`":"x"}}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	annotate("example.com/of-no-concern")
	kubetest.Eventually(t, 5*time.Second, "a write in spite of a change that is of no concern", func() bool {
		return w.ApplyStatus(t.Context(), svc, nil, cluster.Condition{Reason: "NoPool"}) == nil
	})
	svc, _ = service(t, w, ns, "web")

	annotate(cluster.AnnotationPool)
	kubetest.Eventually(t, 5*time.Second, "the change", func() bool {
		now, _ := service(t, w, ns, "web")
		return now.Annotations[cluster.AnnotationPool] != ""
	})
	if err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated); !errors.Is(err, cluster.ErrGone) {
		t.Errorf("this process knows of it: %v", err)
	}

	svc, _ = service(t, w, ns, "web")
	pause() // of the watch: from here on only the server knows
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	annotate(cluster.AnnotationAddresses)
	if err := w.ApplyStatus(t.Context(), svc, addrs("192.0.2.1"), allocated); !errors.Is(err, cluster.ErrGone) {
		t.Errorf("only the server knows of it: %v", err)
	}
	if got := get(t, s, ns, "web"); len(ingress(got)) != 0 {
		t.Errorf("written: %v", got.Status)
	}
}
