package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/internal/kube"
)

const podsPath = "/api/v1/namespaces/herald-system/pods"

// speakerPod is one that an API server tells of, with what is behind it.
type speakerPod struct {
	node   string
	phase  corev1.PodPhase
	port   int32 // 0: it names none
	answer http.HandlerFunc
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text))
	}
}

// fails answers as an API server does on its own behalf.
func fails(code int, reason metav1.StatusReason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
		})
	}
}

// serve is an API server with pods. The name of each is that of its node.
func serve(t *testing.T, pods ...speakerPod) *kube.Client {
	mux := http.NewServeMux()
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	for i, p := range pods {
		pod := corev1.Pod{Spec: corev1.PodSpec{NodeName: p.node, Containers: []corev1.Container{{}}}, Status: corev1.PodStatus{Phase: p.phase}}
		pod.Name = fmt.Sprintf("speaker-%d", i)
		if p.port > 0 {
			pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "metrics", ContainerPort: p.port}}
		} else {
			p.port = 7473
		}
		list.Items = append(list.Items, pod)
		if p.answer != nil {
			mux.HandleFunc(fmt.Sprintf("GET %s/http:%s:%d/proxy/state", podsPath, pod.Name, p.port), func(w http.ResponseWriter, r *http.Request) {
				if got := r.URL.Query().Get("service"); got != "default/web" {
					t.Errorf("asked about the Service %q", got)
				}
				p.answer(w, r)
			})
		}
	}
	mux.HandleFunc("GET "+podsPath, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("labelSelector"); got != speakerLabels {
			t.Errorf("asked for pods with the labels %q", got)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	})
	return clientOf(t, mux)
}

func clientOf(t *testing.T, h http.Handler) *kube.Client {
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", s.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(kube.Options{Kubeconfig: file, Namespace: "herald-system", UserAgent: "heraldctl"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const on = `{"Node": "x", "Rescue": {"On": true, "Why": "", "Peers": ["n2"]}, "Peers": [{"Name": "router", "State": "Established", "LastError": "of old"}]}`

func TestAnswersOfNodes(t *testing.T) {
	const running = corev1.PodRunning
	c := serve(t,
		speakerPod{"n1", running, 7473, says(on)},
		speakerPod{"n2", running, 7474, says(on)},
		speakerPod{"n3", running, 0, says(`{"Rescue": {"On": true, "Why": "flow rescue is off on node n4"}}`)},
		speakerPod{"n4", running, 7473, says(`{"Rescue": {"Why": "no right"}}`)},
		speakerPod{"n5", running, 7473, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		speakerPod{"n7", corev1.PodPending, 7473, nil},
		speakerPod{"n8", running, 7473, says(`{"Node": "n8"}`)},
		speakerPod{"n9", running, 7473, fails(503, metav1.StatusReasonServiceUnavailable, "error trying to reach service: dial tcp 10.0.0.19:7473: connect: connection refused")},
		speakerPod{"n10", running, 7473, fails(403, metav1.StatusReasonForbidden, "pods is forbidden")},
		speakerPod{"n11", corev1.PodFailed, 7473, nil},
		speakerPod{"n11", running, 7473, says(on)},
		speakerPod{"n11", corev1.PodPending, 7473, nil},
		speakerPod{"n12", running, 7473, says("not JSON")},
		speakerPod{"n13", running, 7473, fails(503, metav1.StatusReasonServiceUnavailable, "error trying to reach service: dial tcp 10.0.0.23:7473: connect: connection refused")},
		speakerPod{"n14", corev1.PodPending, 7473, nil},
	)
	const want = `
flow rescue, as the nodes' speakers say:
  on: n1, n2, n11
  on, but not whole: n3: flow rescue is off on node n4
  off: n4: no right
  not known: n5: the speaker does not answer within 300ms
  not known: n6: no speaker is there: kubectl -n herald-system describe daemonset -l app.kubernetes.io/name=herald,app.kubernetes.io/component=speaker
  not known: n7, n14: the speaker does not run: kubectl -n herald-system describe pod speaker-5 speaker-14
  not known: n8: /state of the speaker does not tell: its version has no flow rescue
  not known: n9, n13: /state of the speaker: the API server cannot reach it: connection refused
  not known: n10: /state of the speaker: you may not get pods/proxy in the namespace herald-system
  not known: n12: /state of the speaker: invalid character 'o' in literal null (expecting 'u')
`
	var nodes []string
	for i := range 14 {
		nodes = append(nodes, fmt.Sprintf("n%d", i+1))
	}
	var b strings.Builder
	explain.Rescue(&b, askAll(t.Context(), c, nodes, "default/web", 300*time.Millisecond))
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// One request for each node serves both: n3 announces, but shall rescue nothing,
// and n4 the other way round.
func TestNodesAreAskedOnce(t *testing.T) {
	const running = corev1.PodRunning
	var asked [3]atomic.Int64
	counts := func(i int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			asked[i].Add(1)
			says(text)(w, r)
		}
	}
	const refused = `{"Rescue": {"On": true}, "Flows": {"Off": "no right"}, "Peers": [{"Name": "router", "State": "Idle", "LastError": "no password: key \"tor\" of the Secret herald-bgp: no such key"}]}`
	c := serve(t,
		speakerPod{"n1", running, 7473, counts(0, on)},
		speakerPod{"n2", running, 7473, counts(1, refused)},
		speakerPod{"n3", running, 7473, counts(2, `{"Peers": []}`)},
		speakerPod{"n5", corev1.PodPending, 7473, nil},
	)
	const want = `
BGP sessions, as the nodes' speakers say:
  established: n1
  router: Idle: n2: no password: key "tor" of the Secret herald-bgp: no such key
  none: n3: the speaker has none yet
  not known: n5: the speaker does not run: kubectl -n herald-system describe pod speaker-3

measured shares, as the nodes' speakers count new flows:
  not counted: n2: no right
  not known: n1, n3: /state of the speaker does not tell: its version counts none

flow rescue, as the nodes' speakers say:
  on: n1, n2
  not known: n4: no speaker is there: kubectl -n herald-system describe daemonset -l app.kubernetes.io/name=herald,app.kubernetes.io/component=speaker
`
	var b strings.Builder
	askAndTell(t, &b, c, []string{"n1", "n2", "n3", "n5"}, []string{"n1", "n2", "n4"})
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for i := range asked {
		if n := asked[i].Load(); n != 1 {
			t.Errorf("n%d was asked %d times", i+1, n)
		}
	}
	b.Reset()
	if askAndTell(t, &b, nil, nil, nil); b.String() != "" {
		t.Errorf("no node is to be asked: %s", b.String())
	}
}

// askAndTell asks all of the nodes, and writes what they say.
func askAndTell(t *testing.T, b *strings.Builder, c *kube.Client, announcing, rescuing []string) {
	t.Helper()
	q := questions{service: "default/web", announcing: announcing, rescuing: rescuing, nodes: announcing}
	for _, n := range rescuing {
		if !slices.Contains(announcing, n) {
			q.nodes = append(q.nodes, n)
		}
	}
	tellRest(b, q, askNodes(t.Context(), c, q))
}

func TestNodesAreNotAskedWithoutTheRightToListPods(t *testing.T) {
	c := clientOf(t, fails(403, metav1.StatusReasonForbidden, "pods is forbidden"))
	var b strings.Builder
	askAndTell(t, &b, c, []string{"n1", "n2"}, []string{"n1", "n2"})
	if want := "\n  not known: n1, n2: you may not list pods in the namespace herald-system\n"; strings.Count(b.String(), want) != 2 {
		t.Errorf("got %s", b.String())
	}
}

// A large cluster is asked at once, but not by all at the same time.
func TestManyNodesAreAsked(t *testing.T) {
	var now, most atomic.Int64
	var pods []speakerPod
	var nodes []string
	for i := range 100 {
		nodes = append(nodes, fmt.Sprintf("n%d", i))
		pods = append(pods, speakerPod{nodes[i], corev1.PodRunning, 7473, func(w http.ResponseWriter, r *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(50 * time.Millisecond)
			says(on)(w, r)
		}})
	}
	var b strings.Builder
	askAndTell(t, &b, serve(t, pods...), nodes, nodes)
	all := strings.Join(nodes, ", ") + "\n"
	if !strings.HasSuffix(b.String(), "\n  on: "+all) || !strings.Contains(b.String(), "\n  established: "+all) {
		t.Errorf("got %s", b.String())
	}
	if most.Load() > askAtOnce || most.Load() < 2 {
		t.Errorf("%d were asked at the same time, want some, and at most %d", most.Load(), askAtOnce)
	}
}
