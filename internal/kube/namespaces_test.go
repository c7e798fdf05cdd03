package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Service can be heard of before its Namespace, by another watch. Then nobody sees
// it, unless it has an address that would be lost.
func TestAServiceBeforeItsNamespace(t *testing.T) {
	w := NewWatcher(&Client{}, WatchOptions{Services: true, Namespaces: true})
	meta := func(ns, name, version string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: ns, Name: name, UID: "u", ResourceVersion: version}
	}
	has := &corev1.Service{ObjectMeta: meta("new", "has", "1")}
	has.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	for _, err := range []error{
		w.namespaces.Replace([]any{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "old", Labels: map[string]string{"team": "a"}}}}, "1"),
		w.services.Replace([]any{
			has,
			&corev1.Service{ObjectMeta: meta("new", "web", "1")},
			&corev1.Service{ObjectMeta: meta("old", "web", "1")},
		}, "1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(list ...string) {
		t.Helper()
		got, synced := w.Snapshot()
		if !synced || len(got.Services) != len(list) {
			t.Fatalf("synced: %v, Services %+v, want %v", synced, got.Services, list)
		}
		for i, s := range got.Services {
			if text := s.Key() + " " + s.NamespaceLabels["team"]; text != list[i] {
				t.Errorf("got %q, want %q", text, list[i])
			}
		}
	}
	want("new/has ", "old/web a")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new", Labels: map[string]string{"team": "b"}, ResourceVersion: "2"}}
	if err := w.namespaces.Add(ns); err != nil {
		t.Fatal(err)
	}
	want("new/has b", "new/web b", "old/web a")
}
