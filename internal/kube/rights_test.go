package kube_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
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
	var log lockedBuffer
	c, err := kube.New(kube.Options{
		Kubeconfig: s.ServiceAccount("herald-system", "herald-speaker"), Namespace: "herald-system", UserAgent: "herald-speaker",
		Log: slog.New(slog.NewTextHandler(&log, nil)),
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
	events := func() (notes []string) {
		list, err := s.Admin.EventsV1().Events(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			notes = append(notes, fmt.Sprintf("%s of %s: %s", e.Name, e.EventTime, e.Note))
		}
		return notes
	}
	kubetest.Eventually(t, 5*time.Second, "both Events", func() bool {
		text := strings.Join(events(), "\n")
		return strings.Contains(text, "said once") && strings.Contains(text, "said as well")
	})
	time.Sleep(200 * time.Millisecond)
	// What the server has taken without an answer is said again.
	unanswered := strings.Count(log.String(), "event not sent")
	if got := events(); len(got) > 2+unanswered {
		t.Errorf("Events: %q, %d of them without an answer", got, unanswered)
	}
}

// lockedBuffer is for writers and readers at a time.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A speaker whose ServiceAccount has been deleted is of a Herald that is removed.
// One that has no right to ask does not know.
func TestARemovedServiceAccount(t *testing.T) {
	s := kubetest.Shared(t)
	ns := s.Namespace(t)
	accounts := s.Admin.CoreV1().ServiceAccounts(ns)
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "speaker"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(t.Context(), "speaker", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(kube.Options{Kubeconfig: s.TokenKubeconfig(token.Status.Token), Namespace: ns, UserAgent: "herald-speaker"})
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := c.DaemonSetGone(t.Context(), "herald-speaker"); gone || err == nil {
		t.Errorf("without the right to ask: %v, %v", gone, err)
	}
	if err := accounts.Delete(t.Context(), "speaker", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The API server remembers for 10 s whom it has believed.
	kubetest.Eventually(t, 20*time.Second, "it is gone", func() bool {
		gone, err := c.DaemonSetGone(t.Context(), "herald-speaker")
		return gone && err == nil
	})
}
