package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const localService = `{
	"metadata": {"name": "%[1]s"},
	"spec": {
		"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ipFamilyPolicy": "RequireDualStack",
		"selector": {"app": "%[1]s"},
		"ports": [
			{"name": "tcp", "port": 80, "targetPort": 8080, "protocol": "TCP"},
			{"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"}]}}`

const (
	services = "/api/v1/namespaces/default/services"
	vip4     = "10.99.0.1"
	vip6     = "fd99::1"
)

// announce does what an announcer does, by hand: an address in the Service's
// status, and routes with weights.
func announce(t *testing.T, l *Lab, service string, weights map[string]int) {
	t.Helper()
	status := fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":"%s","ipMode":"VIP"},{"ip":"%s","ipMode":"VIP"}]}}}`, vip4, vip6)
	_, err := l.API(t.Context(), http.MethodPatch, services+"/"+service+"/status", []byte(status))
	must(t, err)
	waitForwarded(t, l, service, weights)
	ways4, ways6 := "route replace "+vip4+"/32", "route replace "+vip6+"/128"
	for name, w := range weights {
		n, err := l.Node(name)
		must(t, err)
		ways4 += fmt.Sprintf(" nexthop via %s weight %d", n.Addr4, w)
		ways6 += fmt.Sprintf(" nexthop via %s weight %d", n.Addr6, w)
	}
	must(t, ip(t.Context(), l.ns(Router), ways4, ways6))
	t.Cleanup(func() {
		_ = ip(context.Background(), l.ns(Router), "route del "+vip4+"/32", "route del "+vip6+"/128")
		_, _ = l.API(context.Background(), http.MethodDelete, services+"/"+service, nil)
	})
}

// waitForwarded waits until kube-proxy has its rules on all nodes that will get
// traffic. A flow that comes earlier finds none, and conntrack remembers it like
// that for two minutes: whoever uses its ports again meanwhile is lost.
func waitForwarded(t *testing.T, l *Lab, service string, weights map[string]int) {
	t.Helper()
	var svc struct {
		Spec struct{ HealthCheckNodePort int }
	}
	must(t, l.Get(t.Context(), services+"/"+service, &svc))
	if svc.Spec.HealthCheckNodePort == 0 {
		t.Fatalf("Service %s has no healthCheckNodePort", service)
	}
	for name := range weights {
		n, err := l.Node(name)
		must(t, err)
		for _, a := range []string{n.Addr4, "[" + n.Addr6 + "]"} {
			url := fmt.Sprintf("http://%s:%d/", a, svc.Spec.HealthCheckNodePort)
			eventually(t, 20*time.Second, "kube-proxy's rules on "+name, func() error {
				_, err := l.Exec(t.Context(), Router, "curl", "-sf", "-m", "2", "-o", "/dev/null", url)
				return err
			})
		}
	}
}

// runPods runs ready pods NAME on their nodes, labelled app, until the test ends.
func runPods(t *testing.T, l *Lab, app string, onNode map[string]string) {
	t.Helper()
	var names []string
	for name, node := range onNode {
		must(t, l.RunPod(t.Context(), PodSpec{Name: name, Node: node, Labels: map[string]string{"app": app}}))
		names = append(names, name)
	}
	t.Cleanup(func() { removePods(t, l, names) })
	must(t, l.WaitPods(t.Context(), 30*time.Second, names...))
}

func removePods(t *testing.T, l *Lab, names []string) {
	for _, name := range names {
		_ = l.RemovePod(context.Background(), name)
	}
	err := waitFor(context.Background(), 20*time.Second, "pods to be gone", func() error {
		for _, name := range names {
			if _, err := l.Pod(context.Background(), name); err == nil {
				return fmt.Errorf("pod %s is there", name)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPods(t *testing.T) {
	l := running(t)
	runPods(t, l, "alone", map[string]string{"one": "n1", "two": "n2"})
	p, err := l.Pod(t.Context(), "default/one")
	must(t, err)
	if len(p.Addrs) != 2 || !strings.HasPrefix(p.Addrs[0].String(), "10.244.1.") || !strings.HasPrefix(p.Addrs[1].String(), "fd00:244:1::") {
		t.Fatalf("addresses of a pod of n1: %v", p.Addrs)
	}
	for _, place := range []string{Ext, LANClient, CP, "n1", "n3", "pod:two"} {
		for _, a := range p.Addrs {
			must(t, oneFlow(t.Context(), l, place, net.JoinHostPort(a.String(), "8080"), "one"))
		}
	}
	pids, err := l.PodPIDs("one")
	if err != nil || len(pids) != 1 {
		t.Errorf("processes of the pod: %v, %v", pids, err)
	}
	if problems := l.Status(t.Context()).Problems(); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}

func TestLocalService(t *testing.T) { testLocalService(t, running(t)) }

func TestLocalServiceWithIptables(t *testing.T) {
	needMachine(t)
	l, err := bring(t.Context(), 2, Options{ProxyMode: "iptables", Nodes: 2})
	must(t, err)
	t.Cleanup(func() { must(t, l.Down(context.Background())) })
	testLocalService(t, l)
}

func testLocalService(t *testing.T, l *Lab) {
	pods := map[string]string{"web-1": "n1", "web-2a": "n2", "web-2b": "n2", "web-2c": "n2"}
	runPods(t, l, "web", pods)
	_, err := l.API(t.Context(), http.MethodPost, services, fmt.Appendf(nil, localService, "web"))
	must(t, err)
	announce(t, l, "web", map[string]int{"n1": 1, "n2": 3})
	// The kube-proxies learn of it at different times.
	for pod := range pods {
		for _, addr := range []string{vip4 + ":80", "[" + vip6 + "]:80"} {
			eventually(t, 20*time.Second, "an answer of "+pod, func() error { return oneFlow(t.Context(), l, Ext, addr, pod) })
		}
	}

	for _, proto := range []string{"tcp", "udp"} {
		for addr, client := range map[string]string{vip4 + ":80": Ext4, "[" + vip6 + "]:80": Ext6} {
			t.Run(proto+" "+addr, func(t *testing.T) {
				answers, err := flows(t.Context(), l, Ext, proto, addr, 2000)
				must(t, err)
				for pod, share := range shares(t, answers, client) {
					t.Logf("%s: %.1f %%", pod, 100*share)
					if math.Abs(share-0.25) > 0.05 { // five standard deviations
						t.Errorf("%s has %.1f %% of the flows, want 25", pod, 100*share)
					}
				}
			})
		}
	}
	t.Run("from the nodes' link", func(t *testing.T) {
		answers, err := flows(t.Context(), l, LANClient, "tcp", vip4+":80", 100)
		must(t, err)
		shares(t, answers, LANClient4)
	})
	t.Run("unready, ready, deleted", func(t *testing.T) { testReadiness(t, l) })
}

func testReadiness(t *testing.T, l *Lab) {
	port := healthPort(t, l, "web")
	health := func(want string) func() error {
		return func() error {
			out, err := l.Exec(t.Context(), Ext, "curl", "-sm1", "-o", "/dev/null", "-w", "%{http_code}", fmt.Sprintf("http://%s:%d/", NodeAt(1).Addr4, port))
			if err == nil && out != want {
				err = fmt.Errorf("health check of n1 says %s, want %s", out, want)
			}
			return err
		}
	}
	must(t, health("200")())
	must(t, l.SetReady(t.Context(), "web-1", false))
	eventually(t, 10*time.Second, "n1 without ready pods", health("503"))
	must(t, l.SetReady(t.Context(), "web-1", true))
	eventually(t, 10*time.Second, "n1 with a ready pod", health("200"))

	before := len(namespaces(l.podPrefix("n1") + "-"))
	must(t, l.RemovePod(t.Context(), "web-1"))
	eventually(t, 10*time.Second, "n1 without pods", health("503"))
	eventually(t, 10*time.Second, "the pod's namespace removed", func() error {
		if now := len(namespaces(l.podPrefix("n1") + "-")); now != before-1 {
			return fmt.Errorf("n1 has %d pod namespaces, and had %d", now, before)
		}
		return nil
	})
}

func healthPort(t *testing.T, l *Lab, service string) int {
	t.Helper()
	b, err := l.API(t.Context(), http.MethodGet, services+"/"+service, nil)
	must(t, err)
	var s struct {
		Spec struct{ HealthCheckNodePort int }
	}
	must(t, json.Unmarshal(b, &s))
	return s.Spec.HealthCheckNodePort
}
