package kube_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/kube/kubetest"
)

// Whoever may list pods and get pods/proxy can ask a pod, as docs/configuration.md
// says; whoever may not is told which right is missing.
func TestRightsToAskPods(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	runPod(t, s, ns, "speaker-a", "n1")
	grant := func(user string, rights ...string) {
		for i, right := range rights {
			verb, resource, _ := strings.Cut(right, " ")
			name := user + string(rune('a'+i))
			s.Kubectl(t, "-n", ns, "create", "role", name, "--verb="+verb, "--resource="+resource)
			s.Kubectl(t, "-n", ns, "create", "rolebinding", name, "--role="+name, "--user="+user)
		}
	}
	grant("both", "list pods", "get pods/proxy")
	grant("lists", "list pods")
	client := func(user string) *kube.Client {
		c, err := kube.New(kube.Options{Kubeconfig: s.Kubeconfig(user), Namespace: ns, UserAgent: "heraldctl"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	pods, err := client("both").Pods(t.Context(), "app=speaker")
	want := []kube.Pod{{Name: "speaker-a", Node: "n1", Running: true, Ports: map[string]int{"metrics": 7473}}}
	if diff := cmp.Diff(want, pods); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if pods, err := client("both").Pods(t.Context(), "app=another"); len(pods) != 0 || err != nil {
		t.Errorf("pods with other labels: %v, %v", pods, err)
	}
	if _, err := client("nobody").Pods(t.Context(), ""); err == nil || err.Error() != "you may not list pods in the namespace "+ns {
		t.Errorf("list without the right: %v", err)
	}
	if _, err := client("lists").AskPod(t.Context(), "speaker-a", 7473, "state", nil); err == nil || err.Error() != "you may not get pods/proxy in the namespace "+ns {
		t.Errorf("ask without the right: %v", err)
	}
	// The API server asks no pod on loopback: it says so only to who may ask.
	if _, err := client("both").AskPod(t.Context(), "speaker-a", 7473, "state", nil); err == nil || !strings.Contains(err.Error(), "address not allowed") {
		t.Errorf("ask with the right: %v", err)
	}
}

func runPod(t *testing.T, s *kubetest.Server, ns, name, node string) {
	t.Helper()
	s.Kubectl(t, "-n", ns, "create", "serviceaccount", "default") // no controller does so here
	pods := s.Admin.CoreV1().Pods(ns)
	p, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "speaker"}},
		Spec: corev1.PodSpec{
			NodeName: node,
			Containers: []corev1.Container{{
				Name: "speaker", Image: "speaker", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 7473}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.PodIP, p.Status.PodIPs = "127.0.0.1", []corev1.PodIP{{IP: "127.0.0.1"}}
	if _, err := pods.UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
