package nodelet

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/e2e/internal/contain"
)

func TestCapabilitySet(t *testing.T) {
	type caps = []corev1.Capability
	rows := []struct {
		desc      string
		drop, add caps
		want      string
	}{
		{"nothing asked", nil, nil, strings.Join(defaultCapabilities, " ")},
		{"drop all", caps{"ALL"}, nil, ""},
		{"drop all, add two", caps{"ALL"}, caps{"NET_RAW", "NET_ADMIN"}, "NET_ADMIN NET_RAW"},
		{"any spelling", caps{"all"}, caps{"CAP_net_raw"}, "NET_RAW"},
		{"what is there already", caps{"ALL"}, caps{"NET_RAW", "NET_RAW"}, "NET_RAW"},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			got, err := capabilitySet(&corev1.Capabilities{Drop: r.drop, Add: r.add})
			if err != nil || strings.Join(got, " ") != r.want {
				t.Errorf("got %v, %v, want %s", got, err, r.want)
			}
		})
	}
	if _, err := capabilitySet(&corev1.Capabilities{Add: caps{"NET_ADMN"}}); err == nil {
		t.Error("an unknown capability was added")
	}
}

func ptr[T any](v T) *T { return &v }

func TestSecurityContextOfContainerWins(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsUser: ptr(int64(1000)), RunAsGroup: ptr(int64(1001)), FSGroup: ptr(int64(2000)), SupplementalGroups: []int64{3000},
	}
	c := &corev1.Container{SecurityContext: &corev1.SecurityContext{
		RunAsUser: ptr(int64(65532)), ReadOnlyRootFilesystem: ptr(true), AllowPrivilegeEscalation: ptr(false),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}}
	var got contain.Spec
	if err := applySecurity(&got, pod, c); err != nil {
		t.Fatal(err)
	}
	want := contain.Spec{UID: 65532, GID: 1001, Groups: []uint32{1001, 2000, 3000}, ReadOnlyRoot: true, NoNewPrivs: true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestRootIsRefusedWhereItMustNotRun(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: ptr(true)}
	if err := applySecurity(&contain.Spec{}, pod, &corev1.Container{}); err == nil {
		t.Error("root was accepted")
	}
	pod.Spec.SecurityContext.RunAsUser = ptr(int64(1))
	if err := applySecurity(&contain.Spec{}, pod, &corev1.Container{}); err != nil {
		t.Error(err)
	}
}
