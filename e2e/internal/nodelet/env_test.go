package nodelet

import (
	"context"
	"net/netip"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"A": "one", "B": "$(A)"}
	for in, want := range map[string]string{
		"plain":         "plain",
		"$(A)":          "one",
		"x$(A)$(A)y":    "xoneoney",
		"$(B)":          "$(A)", // a value is not expanded again
		"$(UNKNOWN)":    "$(UNKNOWN)",
		"$$(A)":         "$(A)",
		"$$$(A)":        "$one",
		"$A and $":      "$A and $",
		"$(A":           "$(A",
		"$(no such) $(": "$(no such) $(",
	} {
		if got := expand(in, vars); got != want {
			t.Errorf("expand %q: got %q, want %q", in, got, want)
		}
	}
}

// fixed has one ConfigMap and one Secret, both named "have".
type fixed struct{}

func (fixed) configMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	if name != "have" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
	}
	return &corev1.ConfigMap{Data: map[string]string{"b": "2", "a": "1"}}, nil
}

func (fixed) secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if name != "have" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
	}
	return &corev1.Secret{Data: map[string][]byte{"s": []byte("3")}}, nil
}

func source() fieldSource {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "web", Namespace: "default", UID: "u1", Labels: map[string]string{"app": "x", "a": "y"},
	}}
	pod.Spec.ServiceAccountName = "sa"
	return fieldSource{
		pod: pod, node: "n1",
		pods:  []netip.Addr{netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd00::2")},
		hosts: []netip.Addr{netip.MustParseAddr("10.77.0.11"), netip.MustParseAddr("fd77::11")},
	}
}

func ref(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

func TestContainerEnv(t *testing.T) {
	yes := true
	c := &corev1.Container{
		EnvFrom: []corev1.EnvFromSource{
			{Prefix: "C_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("have")}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("none"), Optional: &yes}},
		},
		Env: []corev1.EnvVar{
			{Name: "PLAIN", Value: "$(C_a)-$(HOSTNAME)"},
			{Name: "C_b", Value: "replaced"},
			{Name: "KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("have"), Key: "s"}}},
			{Name: "LATER", Value: "$(KEY)"},
			{Name: "MISSING", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref("have"), Key: "z", Optional: &yes}}},
			{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
		},
	}
	env, err := containerEnv(t.Context(), source(), c, fixed{}, []corev1.EnvVar{{Name: "API", Value: "10.96.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PATH=" + defaultPath, "HOSTNAME=web", "API=10.96.0.1", "C_a=1", "C_b=replaced",
		"PLAIN=1-web", "KEY=3", "LATER=3", "NODE=n1",
	}
	if got := env.list(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestMissingSourcesAreErrors(t *testing.T) {
	for want, c := range map[string]*corev1.Container{
		`envFrom: configmaps "none" not found`: {EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("none")}}}},
		"env X: no key z":                      {Env: []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("have"), Key: "z"}}}}},
		"env X: field spec.x is not supported": {Env: []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.x"}}}}},
	} {
		_, err := containerEnv(t.Context(), source(), c, fixed{}, nil)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestFields(t *testing.T) {
	for path, want := range map[string]string{
		"metadata.name":           "web",
		"metadata.namespace":      "default",
		"metadata.uid":            "u1",
		"metadata.labels['app']":  "x",
		"metadata.labels['none']": "",
		"metadata.labels":         "a=\"y\"\napp=\"x\"",
		"spec.nodeName":           "n1",
		"spec.serviceAccountName": "sa",
		"status.podIP":            "10.244.1.2",
		"status.podIPs":           "10.244.1.2,fd00::2",
		"status.hostIP":           "10.77.0.11",
		"status.hostIPs":          "10.77.0.11,fd77::11",
	} {
		got, err := source().field(path)
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
		}
	}
}

func TestResourceFields(t *testing.T) {
	c := &corev1.Container{}
	c.Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1500m"), "memory": resource.MustParse("64Mi")}
	for _, r := range []struct{ name, divisor, want string }{
		{"limits.cpu", "1", "2"},
		{"limits.cpu", "1m", "1500"},
		{"limits.cpu", "0", "2"},
		{"limits.memory", "1Mi", "64"},
		{"limits.memory", "0", "67108864"},
		{"requests.cpu", "1m", "0"},
	} {
		got, err := source().resource(&corev1.ResourceFieldSelector{Resource: r.name, Divisor: resource.MustParse(r.divisor)}, c)
		if err != nil || got != r.want {
			t.Errorf("%s by %s: got %s, %v, want %s", r.name, r.divisor, got, err, r.want)
		}
	}
}

func TestHostname(t *testing.T) {
	f := source()
	if got := f.hostname(); got != "web" {
		t.Errorf("got %s, want the pod's name", got)
	}
	f.pod.Spec.HostNetwork = true
	if got := f.hostname(); got != "n1" {
		t.Errorf("got %s, want the node's name", got)
	}
}

func TestImageBase(t *testing.T) {
	for in, want := range map[string]string{
		"echo": "echo", "echo:dev": "echo", "a.example:5000/x/echo:v1": "echo", "x/echo@sha256:00": "echo", "x/echo:1@sha256:00": "echo",
	} {
		if got := imageBase(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
