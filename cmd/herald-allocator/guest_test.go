package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/internal/kube/kubetest"
)

// The process on a real API server, beside other controllers and among tenants who
// mean no good.

// give writes a Service's ingress as another controller does.
func give(t *testing.T, s *kubetest.Server, ns, name, manager, ingress string) {
	t.Helper()
	_, err := s.Admin.CoreV1().Services(ns).Patch(t.Context(), name, types.MergePatchType,
		[]byte(`{"status":{"loadBalancer":{"ingress":`+ingress+`}}}`), metav1.PatchOptions{FieldManager: manager}, "status")
	if err != nil {
		t.Fatal(err)
	}
}

func annotate(t *testing.T, s *kubetest.Server, ns, name, key, value string) {
	t.Helper()
	_, err := s.Admin.CoreV1().Services(ns).Patch(t.Context(), name, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStatusesOfOtherControllers(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	for name, ingress := range map[string]string{
		"host": `[{"hostname":"lb-1.example.com"}]`, "three": `[{"ip":"10.0.0.11"},{"ip":"10.0.0.12"},{"ip":"10.0.0.13"}]`, "one": `[{"ip":"203.0.113.7"}]`,
	} {
		s.Create(t, kubetest.LoadBalancer(ns, name))
		give(t, s, ns, name, "cloud-controller", ingress)
	}
	before := versions(t, s, ns)
	unchanged := func(when string) {
		t.Helper()
		now := versions(t, s, ns)
		for name, v := range before {
			if now[name] != v {
				t.Errorf("%s: the status of %s was written", when, name)
			}
		}
	}
	r := start(t, s, "a")
	kubetest.Eventually(t, 10*time.Second, "a leads", r.leads)
	time.Sleep(time.Second)
	unchanged("without a configuration")
	configure(t, s, pool("10.64.0.0/24"))
	served(t, s, ns, "ours")
	unchanged("with pools")

	annotate(t, s, ns, "three", "heraldlb.io/load-balancer-ips", "10.64.0.7")
	kubetest.Eventually(t, 5*time.Second, "the address that is asked for", func() bool { return statuses(t, s, ns)["three"] == "10.64.0.7 " })
	delete(before, "three")
	unchanged("one has asked")
}

// Somebody gives the status another mode and a hostname, and then writes over it as
// often as Herald repairs it.
func TestAStatusThatIsDisturbed(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("10.64.0.0/24"))
	start(t, s, "a")
	served(t, s, ns, "web")
	give(t, s, ns, "web", "kubectl-edit", `[{"ip":"10.64.0.0","ipMode":"Proxy"}]`)
	kubetest.Eventually(t, 5*time.Second, "ipMode VIP", func() bool {
		svc, err := s.Admin.CoreV1().Services(ns).Get(t.Context(), "web", metav1.GetOptions{})
		return err == nil && len(svc.Status.LoadBalancer.Ingress) == 1 && *svc.Status.LoadBalancer.Ingress[0].IPMode == corev1.LoadBalancerIPModeVIP
	})
	repairs := 0
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if statuses(t, s, ns)["web"] == "10.64.0.0 " {
			repairs++
			give(t, s, ns, "web", "rival", `[{"ip":"10.0.0.11"},{"ip":"10.0.0.12"}]`)
		}
	}
	if repairs > 5 {
		t.Errorf("%d repairs in 12 s", repairs)
	}
	kubetest.Eventually(t, 10*time.Second, "the rival's name", func() bool {
		return strings.Contains(s.Kubectl(t, "events", "-n", ns, "--for=service/web"), "written by rival as well")
	})
}

// A wish that comes while the first answer is being written is granted next.
func TestCreatedAndChangedAtOnce(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("10.64.0.0/16"))
	r := start(t, s, "a")
	kubetest.Eventually(t, 10*time.Second, "a leads", r.leads)
	for i := range 20 {
		name, wish := fmt.Sprintf("s%02d", i), fmt.Sprintf("10.64.7.%d", i)
		s.Create(t, kubetest.LoadBalancer(ns, name))
		time.Sleep(time.Duration(i%9) * time.Millisecond)
		annotate(t, s, ns, name, "heraldlb.io/load-balancer-ips", wish)
		kubetest.Eventually(t, 3*time.Second, name+" has "+wish, func() bool { return statuses(t, s, ns)[name] == wish+" " })
	}
}

// A tenant writes what would make messages of a megabyte.
func TestATenantWithLongAnnotations(t *testing.T) {
	s := installed(t)
	ns := s.Namespace(t)
	configure(t, s, pool("10.64.0.0/16"))
	r := start(t, s, "a")
	kubetest.Eventually(t, 10*time.Second, "a leads", r.leads)
	for i := range 30 {
		svc := kubetest.LoadBalancer(ns, fmt.Sprintf("bad-%02d", i))
		svc.Annotations = map[string]string{"heraldlb.io/load-balancer-ips": strings.Repeat("\x01", 240<<10)}
		if i%2 == 0 {
			svc.Annotations, svc.Spec.LoadBalancerIP = nil, strings.Repeat("\x02", 330<<10)
		}
		s.Create(t, svc)
	}
	if took := served(t, s, ns, "web"); took > 3*time.Second {
		t.Errorf("an honest Service has waited for %v", took)
	}
	kubetest.Eventually(t, 10*time.Second, "conditions of the others", func() bool {
		list, err := s.Admin.CoreV1().Services(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false
		}
		for _, svc := range list.Items {
			if len(svc.Status.Conditions) != 1 || len(svc.Status.Conditions[0].Message) > 2000 {
				return false
			}
		}
		return true
	})
}

// A configuration that cannot be published is in force nowhere, and nobody says that it
// is.
func TestAConfigurationThatNobodyMayPublish(t *testing.T) {
	s := installed(t)
	configure(t, s, pool("10.64.0.0/31"))
	r := start(t, s, "a")
	r.outage = true // the server says Forbidden of the field
	maps := s.Admin.CoreV1().ConfigMaps(system)
	kubetest.Eventually(t, 10*time.Second, "the accepted configuration", func() bool {
		_, err := maps.Patch(t.Context(), "herald-accepted", types.MergePatchType, []byte(`{"immutable":true}`), metav1.PatchOptions{})
		return err == nil
	})
	configure(t, s, pool("10.64.0.0/24"))
	kubetest.Eventually(t, 10*time.Second, "the Event", func() bool {
		return strings.Contains(s.Kubectl(t, "events", "-n", system, "--for=configmap/herald"), "ConfigurationNotPublished")
	})
	if state := r.get("/state"); !strings.Contains(state, "is valid, but not in force") {
		t.Errorf("/state: %s", state)
	}
}
