package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/internal/cluster"
)

// conditions are ready, serving and terminating: + yes, - no, . not said.
func conditions(s string) discoveryv1.EndpointConditions {
	is := func(c byte) *bool {
		yes := c == '+'
		if c == '.' {
			return nil
		}
		return &yes
	}
	return discoveryv1.EndpointConditions{Ready: is(s[0]), Serving: is(s[1]), Terminating: is(s[2])}
}

func TestEndpointConditionsThatAreNotSaid(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"...", "++-"}, {"+..", "++-"}, {"-..", "---"}, {"++-", "++-"}, {"-++", "-++"}, {"--+", "--+"}, {"-+.", "-+-"},
	} {
		ep, ok := toEndpoint(discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Conditions: conditions(tt.in)})
		if got := marks(ep); !ok || got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

func marks(e cluster.Endpoint) string {
	out := []byte("---")
	for i, is := range []bool{e.Ready, e.Serving, e.Terminating} {
		if is {
			out[i] = '+'
		}
	}
	return string(out)
}

func TestEndpointsOfOneAddressAreOne(t *testing.T) {
	ep := func(addr, node, c string) cluster.Endpoint {
		return cluster.Endpoint{
			Addr: netip.MustParseAddr(addr), Node: node, Ready: c[0] == '+', Serving: c[1] == '+', Terminating: c[2] == '+',
		}
	}
	for _, tt := range []struct {
		desc string
		in   []cluster.Endpoint
		want string
	}{
		{"none", nil, ""},
		{
			"sorted by address",
			[]cluster.Endpoint{ep("10.0.0.10", "a", "++-"), ep("10.0.0.9", "b", "++-"), ep("fd00::1", "c", "++-")},
			"10.0.0.9 b ++-, 10.0.0.10 a ++-, fd00::1 c ++-",
		},
		{"ready in one slice is ready", []cluster.Endpoint{ep("10.0.0.1", "a", "---"), ep("10.0.0.1", "a", "++-")}, "10.0.0.1 a ++-"},
		{"terminating only if in all", []cluster.Endpoint{ep("10.0.0.1", "a", "-++"), ep("10.0.0.1", "a", "++-")}, "10.0.0.1 a ++-"},
		{"terminating in all", []cluster.Endpoint{ep("10.0.0.1", "a", "-++"), ep("10.0.0.1", "a", "--+")}, "10.0.0.1 a -++"},
		{"where it is ready", []cluster.Endpoint{ep("10.0.0.1", "b", "---"), ep("10.0.0.1", "a", "++-")}, "10.0.0.1 a ++-"},
		{"where it is ready, not where it ends", []cluster.Endpoint{ep("10.0.0.1", "b", "-++"), ep("10.0.0.1", "a", "++-")}, "10.0.0.1 a ++-"},
		{"the old one serves while the new one starts", []cluster.Endpoint{ep("10.0.0.1", "a", "-++"), ep("10.0.0.1", "a", "---")}, "10.0.0.1 a -++"},
		{"the slice that names the node", []cluster.Endpoint{ep("10.0.0.1", "", "++-"), ep("10.0.0.1", "a", "++-")}, "10.0.0.1 a ++-"},
	} {
		for range 2 {
			var got []string
			for _, e := range mergeEndpoints(slices.Clone(tt.in)) {
				got = append(got, fmt.Sprint(e.Addr, " ", e.Node, " ", marks(e)))
			}
			if text := strings.Join(got, ", "); text != tt.want {
				t.Errorf("%s: got %s, want %s", tt.desc, text, tt.want)
			}
			slices.Reverse(tt.in) // the order of the slices is irrelevant
		}
	}
}

func TestSlicesThatCountForNothing(t *testing.T) {
	eps := []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}}
	of := metav1.ObjectMeta{Namespace: "default", Name: "x", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}
	for desc, s := range map[string]*discoveryv1.EndpointSlice{
		"FQDN":          {ObjectMeta: of, AddressType: discoveryv1.AddressTypeFQDN, Endpoints: eps},
		"of no Service": {ObjectMeta: metav1.ObjectMeta{Namespace: "default"}, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: eps},
		"no address":    {ObjectMeta: of, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{}}},
		"not a number":  {ObjectMeta: of, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"web"}}}},
	} {
		if got := toSlice(s); len(got.endpoints) != 0 {
			t.Errorf("%s: %+v", desc, got)
		}
	}
}

func TestIngressAddressesOnly(t *testing.T) {
	s := &corev1.Service{}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
		{Hostname: "lb.example.com"}, {IP: "::ffff:192.0.2.1"}, {IP: "2001:db8::1"}, {IP: "garbage"},
	}
	want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	if got := toService(s).Ingress; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// Snapshots are equal to what a fresh Watcher makes of the same objects, in
// whatever order Services and slices come and go; and holders of an old Snapshot
// see no change in it.
func TestSnapshotFollowsServicesAndSlices(t *testing.T) {
	w := NewWatcher(&Client{}, WatchOptions{Services: true, EndpointSlices: true})
	if _, ok := w.Snapshot(); ok {
		t.Error("a Snapshot before the caches are synced")
	}
	_ = w.slices.Replace([]any{endpoints("web-1", "web", "10.0.0.1")}, "1")
	_ = w.services.Replace([]any{obj("web", "1", ""), obj("web-b", "1", "")}, "1")
	for _, step := range []struct {
		desc string
		do   func()
		want string
	}{
		{"synced", func() {}, "web[10.0.0.1] web-b[]"},
		{"a second slice", func() { _ = w.slices.Add(endpoints("web-2", "web", "10.0.0.2")) }, "web[10.0.0.1 10.0.0.2] web-b[]"},
		{"it changes sides", func() { _ = w.slices.Update(endpoints("web-2", "web-b", "10.0.0.2")) }, "web[10.0.0.1] web-b[10.0.0.2]"},
		{"a slice before its Service", func() { _ = w.slices.Add(endpoints("a-1", "a", "10.0.0.3")) }, "web[10.0.0.1] web-b[10.0.0.2]"},
		{"its Service, and it comes first", func() { _ = w.services.Add(obj("a", "2", "")) }, "a[10.0.0.3] web[10.0.0.1] web-b[10.0.0.2]"},
		{"one in between, one at the end", func() {
			_ = w.services.Add(obj("web-a", "3", ""))
			_ = w.services.Add(obj("z", "4", ""))
		}, "a[10.0.0.3] web[10.0.0.1] web-a[] web-b[10.0.0.2] z[]"},
		{"a slice goes", func() { _ = w.slices.Delete(endpoints("web-1", "web", "")) }, "a[10.0.0.3] web[] web-a[] web-b[10.0.0.2] z[]"},
		{"Services go", func() {
			_ = w.services.Delete(obj("a", "5", ""))
			_ = w.services.Delete(obj("web-a", "6", ""))
		}, "web[] web-b[10.0.0.2] z[]"},
		{"another namespace, whose name has a sign before /", func() {
			other := obj("a", "6", "")
			other.Namespace = "default-x"
			_ = w.services.Add(other)
		}, "a[] web[] web-b[10.0.0.2] z[]"},
		{"a new list", func() {
			_ = w.services.Replace([]any{obj("z", "7", ""), obj("b", "7", "")}, "7")
		}, "b[] z[]"},
	} {
		before, _ := w.Snapshot()
		copied := text(before)
		step.do()
		after, ok := w.Snapshot()
		if got := text(after); !ok || got != step.want {
			t.Errorf("%s: got %s, want %s", step.desc, got, step.want)
		}
		if text(before) != copied {
			t.Errorf("%s: the Snapshot from before has changed", step.desc)
		}
	}
}

func text(s cluster.Snapshot) string {
	var out []string
	for _, svc := range s.Services {
		var addrs []string
		for _, e := range svc.Endpoints {
			addrs = append(addrs, e.Addr.String())
		}
		out = append(out, svc.Name+"["+strings.Join(addrs, " ")+"]")
	}
	return strings.Join(out, " ")
}

func endpoints(name, service, addr string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, ResourceVersion: "9",
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{addr}}},
	}
}

func fill(tb testing.TB, w *Watcher, n int) {
	tb.Helper()
	var services, slices []any
	for i := range n {
		name := fmt.Sprintf("s%05d", i)
		s := obj(name, fmt.Sprint(i+1), "")
		s.Spec.Ports = []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}}
		services = append(services, s)
		slices = append(slices, endpoints(name+"-1", name, fmt.Sprintf("10.1.%d.%d", i/250, i%250)))
	}
	_ = w.services.Replace(services, fmt.Sprint(n))
	_ = w.slices.Replace(slices, fmt.Sprint(n))
	if snap, ok := w.Snapshot(); !ok || len(snap.Services) != n {
		tb.Fatal("no Snapshot")
	}
}

// An ingress is Herald's if Herald is among its owners. Lists come to the table
// thinned, and watches whole; both must say the same.
func TestWhoseAnIngressIs(t *testing.T) {
	const fields = `{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`
	entry := func(manager, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{
			Manager: manager, FieldsType: "FieldsV1", Subresource: "status", FieldsV1: metav1.NewFieldsV1(fields),
		}
	}
	other := entry("kubectl-client-side-apply", `{"f:metadata":{"f:annotations":{"f:ingress":{}}},"f:spec":{"f:loadBalancerIP":{}}}`)
	said := []metav1.Condition{{Type: cluster.ConditionAllocated, Status: metav1.ConditionTrue}}
	for _, tt := range []struct {
		desc    string
		entries []metav1.ManagedFieldsEntry
		said    []metav1.Condition
		want    string
	}{
		{"nobody's, and we have never said a word", []metav1.ManagedFieldsEntry{other}, nil, unknownManager},
		{"nobody's, but we have", []metav1.ManagedFieldsEntry{other}, said, ""},
		{"another's", []metav1.ManagedFieldsEntry{other, entry("k3s", fields)}, said, "k3s"},
		{"ours", []metav1.ManagedFieldsEntry{entry(Manager, fields), other}, said, ""},
		{"ours as well", []metav1.ManagedFieldsEntry{entry("k3s", fields), entry(Manager, fields)}, nil, ""},
		{"another's, beside a condition of ours", []metav1.ManagedFieldsEntry{
			entry(Manager, `{"f:status":{"f:conditions":{}}}`), entry("k3s", fields),
		}, said, "k3s"},
	} {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{ManagedFields: tt.entries}}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
		s.Status.Conditions = tt.said
		if got := toService(s).StatusOf; got != tt.want {
			t.Errorf("%s: got %q", tt.desc, got)
		}
		obj, err := (&table[service]{}).Transformer()(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := toService(obj).StatusOf; got != tt.want {
			t.Errorf("%s, thinned: got %q", tt.desc, got)
		}
		if s.Status.LoadBalancer.Ingress = nil; toService(s).StatusOf != "" {
			t.Errorf("%s: there is no ingress", tt.desc)
		}
	}
}

func TestAnIngressThatSaysMoreThanHeraldWrites(t *testing.T) {
	vip, proxy := corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy
	for _, tt := range []struct {
		in   corev1.LoadBalancerIngress
		want bool
	}{
		{corev1.LoadBalancerIngress{IP: "192.0.2.1", IPMode: &vip}, false},
		{corev1.LoadBalancerIngress{IP: "192.0.2.1"}, false}, // from before ipMode
		{corev1.LoadBalancerIngress{IP: "192.0.2.1", IPMode: &proxy}, true},
		{corev1.LoadBalancerIngress{IP: "192.0.2.1", IPMode: &vip, Hostname: "lb.example.com"}, true},
		{corev1.LoadBalancerIngress{IP: "192.0.2.1", IPMode: &vip, Ports: []corev1.PortStatus{{Port: 80}}}, true},
		{corev1.LoadBalancerIngress{Hostname: "lb.example.com"}, true},
	} {
		s := &corev1.Service{}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{tt.in}
		if got := toService(s).Adorned; got != tt.want {
			t.Errorf("%+v: got %v", tt.in, got)
		}
	}
}
