package nodelet

import (
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func running(ready bool) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, Ready: ready}
}

func ended(code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func waiting() corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
}

func backOff() corev1.ContainerStatus {
	c := waiting()
	c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1}
	return c
}

func TestPhaseAndReadiness(t *testing.T) {
	type all = []corev1.ContainerStatus
	deleted := func(v *view) { v.pod.DeletionTimestamp = &metav1.Time{} }
	never := func(v *view) { v.pod.Spec.RestartPolicy = corev1.RestartPolicyNever }
	onFailure := func(v *view) { v.pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure }
	none := func(*view) {}
	rows := []struct {
		desc   string
		change func(*view)
		main   all
		phase  corev1.PodPhase
		ready  corev1.ConditionStatus
	}{
		{"not started", none, all{waiting()}, "Pending", "False"},
		{"one of two started", none, all{running(true), waiting()}, "Pending", "False"},
		{"init not done", func(v *view) { v.initDone = false }, all{waiting()}, "Pending", "False"},
		{"runs, not ready", none, all{running(false)}, "Running", "False"},
		{"one of two ready", none, all{running(true), running(false)}, "Running", "False"},
		{"ready", none, all{running(true), running(true)}, "Running", "True"},
		{"crashed, waits for its restart", none, all{backOff()}, "Running", "False"},
		{"ended, will be restarted", none, all{ended(0)}, "Running", "False"},
		{"ended well, never restarted", never, all{ended(0)}, "Succeeded", "False"},
		{"ended badly, never restarted", never, all{ended(0), ended(2)}, "Failed", "False"},
		{"ended well, restarted on failure", onFailure, all{ended(0)}, "Succeeded", "False"},
		{"ended badly, restarted on failure", onFailure, all{ended(1)}, "Running", "False"},
		{"deleted, still ready", deleted, all{running(true)}, "Running", "True"},
		{"deleted, ended well", deleted, all{ended(0)}, "Succeeded", "False"},
		{"deleted, ended by a signal", deleted, all{ended(143)}, "Failed", "False"},
		{"failed before, stays so", func(v *view) { v.pod.Status.Phase = corev1.PodFailed }, all{waiting()}, "Failed", "False"},
		{"init failed for good", func(v *view) { never(v); v.initDone, v.init = false, all{ended(1)} }, all{waiting()}, "Failed", "False"},
		{"gate closed", func(v *view) { v.pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x"}} }, all{running(true)}, "Running", "False"},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			v := view{pod: &corev1.Pod{}, ready: true, initDone: true, main: r.main}
			v.pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
			r.change(&v)
			st := v.status()
			if got := conditionOf(st, corev1.PodReady).Status; st.Phase != r.phase || got != r.ready {
				t.Errorf("phase %s, ready %s, want %s, %s", st.Phase, got, r.phase, r.ready)
			}
		})
	}
}

func conditionOf(st corev1.PodStatus, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range st.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

func TestStatusKeepsWhatOthersHaveWritten(t *testing.T) {
	early, late := metav1.Unix(1000, 0), metav1.Unix(2000, 0)
	pod := &corev1.Pod{}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: early},
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: early},
		{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: early}, // by the node lifecycle controller
	}
	v := view{pod: pod, ready: true, initDone: true, main: []corev1.ContainerStatus{running(true)}, now: late}
	st := v.status()
	for kind, want := range map[corev1.PodConditionType]time.Time{
		corev1.PodScheduled: early.Time, corev1.ContainersReady: early.Time, corev1.PodReady: late.Time,
	} {
		c := conditionOf(st, kind)
		if c.Status != corev1.ConditionTrue || !c.LastTransitionTime.Time.Equal(want) {
			t.Errorf("%s: %s since %v, want True since %v", kind, c.Status, c.LastTransitionTime, want)
		}
	}
	if pod.Status.Conditions[2].Status != corev1.ConditionFalse {
		t.Error("the pod that the watch owns was changed")
	}
}

func TestStatusHasBothFamilies(t *testing.T) {
	s := source()
	st := view{pod: &corev1.Pod{}, addrs: s.pods, hosts: s.hosts}.status()
	if st.PodIP != "10.244.1.2" || len(st.PodIPs) != 2 || st.PodIPs[1].IP != "fd00::2" || len(st.HostIPs) != 2 {
		t.Errorf("got %s %v %v", st.PodIP, st.PodIPs, st.HostIPs)
	}
	st = view{pod: &corev1.Pod{}, addrs: []netip.Addr(nil)}.status()
	if st.PodIP != "" || st.PodIPs != nil {
		t.Errorf("got %s %v before there is a network", st.PodIP, st.PodIPs)
	}
}
