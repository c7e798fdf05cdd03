package nodelet

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// view is what a pod's status is made of.
type view struct {
	pod        *corev1.Pod
	addrs      []netip.Addr // none before the network is made
	hosts      []netip.Addr
	started    metav1.Time
	ready      bool // sandbox and volumes
	initDone   bool
	init, main []corev1.ContainerStatus
	now        metav1.Time
}

// status is a pure function: it keeps what others have written, such as the
// scheduler's condition.
func (v view) status() corev1.PodStatus {
	st := *v.pod.Status.DeepCopy()
	st.ObservedGeneration = v.pod.Generation
	st.Phase = v.phase()
	st.StartTime = &v.started
	st.HostIP, st.HostIPs = hostIPs(v.hosts)
	st.PodIP, st.PodIPs = podIPs(v.addrs)
	st.InitContainerStatuses, st.ContainerStatuses = v.init, v.main

	containersReady := st.Phase == corev1.PodRunning && allReady(v.main)
	v.condition(&st, corev1.PodReadyToStartContainers, v.ready && !v.over(), "")
	v.condition(&st, corev1.PodInitialized, v.initDone, "ContainersNotInitialized")
	v.condition(&st, corev1.ContainersReady, containersReady, v.notReadyReason())
	v.condition(&st, corev1.PodReady, containersReady && v.gatesOpen(), v.notReadyReason())
	return st
}

func (v view) phase() corev1.PodPhase {
	if old := v.pod.Status.Phase; old == corev1.PodSucceeded || old == corev1.PodFailed {
		return old
	}
	if failedForGood(v.pod, v.init) {
		return corev1.PodFailed
	}
	if v.over() {
		if slices.ContainsFunc(v.main, failed) {
			return corev1.PodFailed
		}
		return corev1.PodSucceeded
	}
	if !v.initDone || slices.ContainsFunc(v.main, neverStarted) {
		return corev1.PodPending
	}
	return corev1.PodRunning
}

// over tells that no container will run again.
func (v view) over() bool {
	for _, c := range v.main {
		if c.State.Terminated == nil || v.restarts(c) {
			return false
		}
	}
	return len(v.main) > 0
}

func (v view) restarts(c corev1.ContainerStatus) bool {
	switch {
	case v.pod.DeletionTimestamp != nil:
		return false
	case v.pod.Spec.RestartPolicy == corev1.RestartPolicyNever:
		return false
	case v.pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure:
		return failed(c)
	}
	return true
}

func failedForGood(pod *corev1.Pod, init []corev1.ContainerStatus) bool {
	return pod.Spec.RestartPolicy == corev1.RestartPolicyNever && slices.ContainsFunc(init, failed)
}

func failed(c corev1.ContainerStatus) bool {
	return c.State.Terminated != nil && c.State.Terminated.ExitCode != 0
}

func neverStarted(c corev1.ContainerStatus) bool {
	return c.State.Running == nil && c.State.Terminated == nil && c.LastTerminationState.Terminated == nil
}

func allReady(all []corev1.ContainerStatus) bool {
	return !slices.ContainsFunc(all, func(c corev1.ContainerStatus) bool { return !c.Ready })
}

func (v view) notReadyReason() string {
	switch v.phase() {
	case corev1.PodSucceeded:
		return "PodCompleted"
	case corev1.PodFailed:
		return "PodFailed"
	default:
		return "ContainersNotReady"
	}
}

func (v view) gatesOpen() bool {
	for _, g := range v.pod.Spec.ReadinessGates {
		if !slices.ContainsFunc(v.pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		}) {
			return false
		}
	}
	return true
}

// condition keeps the time of a state that has not changed.
func (v view) condition(st *corev1.PodStatus, t corev1.PodConditionType, on bool, reason string) {
	c := corev1.PodCondition{Type: t, Status: corev1.ConditionFalse, Reason: reason, LastTransitionTime: v.now, ObservedGeneration: v.pod.Generation}
	if on {
		c.Status, c.Reason = corev1.ConditionTrue, ""
	}
	i := slices.IndexFunc(st.Conditions, func(o corev1.PodCondition) bool { return o.Type == t })
	if i < 0 {
		st.Conditions = append(st.Conditions, c)
		return
	}
	if st.Conditions[i].Status == c.Status {
		c.LastTransitionTime = st.Conditions[i].LastTransitionTime
	}
	st.Conditions[i] = c
}

func hostIPs(addrs []netip.Addr) (string, []corev1.HostIP) {
	var out []corev1.HostIP
	for _, a := range addrs {
		out = append(out, corev1.HostIP{IP: a.String()})
	}
	return first(addrs), out
}

func podIPs(addrs []netip.Addr) (string, []corev1.PodIP) {
	var out []corev1.PodIP
	for _, a := range addrs {
		out = append(out, corev1.PodIP{IP: a.String()})
	}
	return first(addrs), out
}

// addrs of a pod on the node's network are the node's.
func (w *worker) addrs() []netip.Addr {
	if w.manifest.Spec.HostNetwork {
		return w.agent.Addrs
	}
	if n := w.net.Load(); n != nil {
		return n.Addrs
	}
	return nil
}

func (w *worker) view() view {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := view{
		pod: w.pod, addrs: w.addrs(), hosts: w.agent.Addrs, started: w.started,
		ready: w.ready, initDone: w.initDone, now: metav1.Now().Rfc3339Copy(),
	}
	for _, c := range w.init {
		v.init = append(v.init, c.status())
	}
	for _, c := range w.main {
		v.main = append(v.main, c.status())
	}
	return v
}

// syncStatus makes the API show the pod as it is, whoever changed which side.
func (w *worker) syncStatus(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.poke:
		}
		err := w.agent.retry(ctx, "post the status of pod "+w.name, func(ctx context.Context) error {
			err := w.postStatus(ctx)
			if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
				return nil // gone, or another of the same name is there
			}
			return err
		})
		if err != nil {
			return
		}
	}
}

// postStatus uses a merge patch: the strategic one merges podIPs and so keeps
// those of an earlier life. The UID guards against a pod of the same name.
func (w *worker) postStatus(ctx context.Context) error {
	v := w.view()
	status := v.status()
	if apiequality.Semantic.DeepEqual(status, v.pod.Status) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": w.uid}, "status": status})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	pod, err := w.agent.Client.CoreV1().Pods(w.namespace).Patch(ctx, w.name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	w.remember(pod)
	return nil
}

// remember keeps the newer of what is known and pod: the watch may bring an
// older object than our own patch has returned.
func (w *worker) remember(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	order, err := resourceversion.CompareResourceVersion(pod.ResourceVersion, w.pod.ResourceVersion)
	if err == nil && order < 0 {
		return
	}
	w.pod = pod
}
