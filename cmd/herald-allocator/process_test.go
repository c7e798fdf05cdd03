package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/internal/kube/kubetest"
	"github.com/heraldlb/herald/internal/serve/servetest"
)

const asAllocator = "HERALD_TEST_AS_ALLOCATOR"

// The test binary is the allocator too, so that a test can kill one.
func TestMain(m *testing.M) {
	if os.Getenv(asAllocator) != "" {
		main()
		return
	}
	kubetest.Main(m)
}

const system = "herald-system"

var applied sync.Once

// installed is a server with the manifests applied and nothing else of ours.
func installed(t *testing.T) *kubetest.Server {
	t.Helper()
	s := kubetest.Shared(t)
	applied.Do(func() {
		root, err := kubetest.Root()
		if err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "apply", "-k", filepath.Join(root, "manifests", "base"))
	})
	all, err := s.Admin.CoreV1().Services("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, svc := range all.Items {
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			err = errors.Join(err, s.Admin.CoreV1().Services(svc.Namespace).Delete(t.Context(), svc.Name, metav1.DeleteOptions{}))
		}
	}
	for _, name := range []string{"herald", "herald-accepted", "herald-status"} {
		if e := s.Admin.CoreV1().ConfigMaps(system).Delete(t.Context(), name, metav1.DeleteOptions{}); !apierrors.IsNotFound(e) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func configure(t *testing.T, s *kubetest.Server, text string) {
	t.Helper()
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "herald"}, Data: map[string]string{"config.yaml": text},
	}
	maps := s.Admin.CoreV1().ConfigMaps(system)
	_, err := maps.Update(t.Context(), cm, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(t.Context(), cm, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A replica is an allocator in a process of its own, with the service account
// and the rights that the manifests give it.
type replica struct {
	*kubetest.Process
	t       *testing.T
	address string
	log     string
	outage  bool // the API server was restarted; for a moment it forbids all
}

func start(t *testing.T, s *kubetest.Server, name string) *replica {
	t.Helper()
	r := &replica{t: t, address: freeAddress(t), log: filepath.Join(t.TempDir(), name+".log")}
	var err error
	r.Process, err = kubetest.Spawn(r.log, []string{asAllocator + "=1"}, os.Args[0],
		"--kubeconfig="+s.ServiceAccount(system, "herald-allocator"), "--identity="+name, "--metrics-address="+r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.end(syscall.SIGTERM)
		r.check()
	})
	return r
}

// end sends a signal and waits until the replica is gone.
func (r *replica) end(sig syscall.Signal) {
	r.Signal(sig)
	select {
	case <-r.Done():
	case <-time.After(10 * time.Second):
		r.Kill()
		r.t.Errorf("%s does not end at %v", r.log, sig)
	}
}

// check fails the test if the replica lacked a right, and shows its log if the
// test has failed.
func (r *replica) check() {
	log, err := os.Open(r.log)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer func() { _ = log.Close() }()
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if text := lines.Text(); !r.outage && strings.Contains(strings.ToLower(text), "forbidden") {
			r.t.Error(text)
		} else if r.t.Failed() {
			r.t.Log(text)
		}
	}
}

func (r *replica) get(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+path, nil)
	if err != nil {
		return err.Error()
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return fmt.Sprint(string(body), err)
}

func (r *replica) leads() bool {
	v, ok := servetest.Value(r.get("/metrics"), "herald_allocator_leader")
	return ok && v == 1
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// statuses are the addresses of all Services that have one, by name; a test has
// one namespace only.
func statuses(t *testing.T, s *kubetest.Server, ns string) map[string]string {
	t.Helper()
	list, err := s.Admin.CoreV1().Services(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, svc := range list.Items {
		for _, in := range svc.Status.LoadBalancer.Ingress {
			out[svc.Name] += in.IP + " "
		}
	}
	return out
}

// distinct fails the test if an address is given twice.
func distinct(t *testing.T, statuses map[string]string) {
	t.Helper()
	owner := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(statuses)) {
		for _, ip := range strings.Fields(statuses[name]) {
			if owner[ip] != "" {
				t.Errorf("%s belongs to %s and %s", ip, owner[ip], name)
			}
			owner[ip] = name
		}
	}
}

// versions are the resource versions of all Services of a namespace: if they are
// the same as before, nobody has written.
func versions(t *testing.T, s *kubetest.Server, ns string) map[string]string {
	t.Helper()
	list, err := s.Admin.CoreV1().Services(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, svc := range list.Items {
		out[svc.Name] = svc.ResourceVersion
	}
	return out
}
