package nodelet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// version is the release whose kubelet is stood in for.
const version = "v1.36.3+nodelet"

// leasePeriods is how many missed heartbeats make a lease expire.
const leasePeriods = 4

// register makes the Node object, or takes over the one of an earlier run. It
// tries until the API server answers.
func (a *Agent) register(ctx context.Context) error {
	return a.retry(ctx, "register the node", func(ctx context.Context) error {
		_, err := a.Client.CoreV1().Nodes().Create(ctx, a.node(), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			err = a.takeOver(ctx)
		}
		return err
	})
}

// takeOver renews the labels, which may differ from the earlier run's. The pod
// prefixes of a Node cannot be changed once they are set.
func (a *Agent) takeOver(ctx context.Context) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": a.labels()}})
	if err != nil {
		return err
	}
	_, err = a.Client.CoreV1().Nodes().Patch(ctx, a.Node, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return err
	}
	return a.postNodeStatus(ctx)
}

func (a *Agent) node() *corev1.Node {
	n := &corev1.Node{}
	n.Name, n.Labels = a.Node, a.labels()
	n.Spec.PodCIDR = a.Net.CIDR4.String()
	n.Spec.PodCIDRs = []string{a.Net.CIDR4.String(), a.Net.CIDR6.String()}
	n.Status = a.nodeStatus(nil, metav1.Now())
	return n
}

func (a *Agent) labels() map[string]string {
	l := map[string]string{
		corev1.LabelHostname:   a.Node,
		corev1.LabelArchStable: runtime.GOARCH,
		corev1.LabelOSStable:   runtime.GOOS,
	}
	maps.Copy(l, a.Labels)
	return l
}

// beat renews the lease, and posts the status whenever the API does not show
// this node as ready: a renewed lease alone does not bring it back.
func (a *Agent) beat(ctx context.Context) {
	tick := time.NewTicker(a.Heartbeat)
	defer tick.Stop()
	for {
		if err := a.beatOnce(ctx); err != nil && ctx.Err() == nil {
			a.Log.Warn("heartbeat failed", "err", err)
			a.Disconnect()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *Agent) beatOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*a.Heartbeat)
	defer cancel()
	node, err := a.Client.CoreV1().Nodes().Get(ctx, a.Node, metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		return a.register(ctx)
	}
	if err != nil {
		return err
	}
	if err := a.renewLease(ctx, node); err != nil {
		return err
	}
	if isReady(node) {
		return nil
	}
	return a.postNodeStatus(ctx)
}

func isReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func (a *Agent) renewLease(ctx context.Context, node *corev1.Node) error {
	leases := a.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	lease, err := leases.Get(ctx, a.Node, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if missing {
		lease = &coordv1.Lease{}
		lease.Name, lease.Namespace = a.Node, corev1.NamespaceNodeLease
		lease.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: a.Node, UID: node.UID}}
	} else if err != nil {
		return err
	}
	now := metav1.NowMicro()
	seconds := int32(max(1, leasePeriods*a.Heartbeat.Seconds()))
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &a.Node, &seconds, &now
	if missing {
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	} else {
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	return err
}

// postNodeStatus uses a merge patch: the strategic one merges addresses by type
// and so refuses two of type InternalIP.
func (a *Agent) postNodeStatus(ctx context.Context) error {
	node, err := a.Client.CoreV1().Nodes().Get(ctx, a.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"status": a.nodeStatus(node.Status.Conditions, metav1.Now())})
	if err != nil {
		return err
	}
	_, err = a.Client.CoreV1().Nodes().Patch(ctx, a.Node, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func (a *Agent) nodeStatus(old []corev1.NodeCondition, now metav1.Time) corev1.NodeStatus {
	st := corev1.NodeStatus{
		Capacity:   capacity(),
		Conditions: nodeConditions(old, now),
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: a.Node}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{
			KubeletEndpoint: corev1.DaemonEndpoint{Port: logsPort},
		},
		NodeInfo: corev1.NodeSystemInfo{
			KubeletVersion: version, KernelVersion: kernelRelease(), OSImage: "lab",
			ContainerRuntimeVersion: "nodelet://1", OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
		},
	}
	st.Allocatable = st.Capacity
	for _, addr := range a.Addrs {
		st.Addresses = append(st.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: addr.String()})
	}
	return st
}

// nodeConditions are ours over the old ones; those of other owners stay.
func nodeConditions(old []corev1.NodeCondition, now metav1.Time) []corev1.NodeCondition {
	out := slices.Clone(old)
	set := func(t corev1.NodeConditionType, s corev1.ConditionStatus, reason string) {
		c := corev1.NodeCondition{Type: t, Status: s, Reason: reason, Message: reason, LastHeartbeatTime: now, LastTransitionTime: now}
		i := slices.IndexFunc(out, func(o corev1.NodeCondition) bool { return o.Type == t })
		if i < 0 {
			out = append(out, c)
			return
		}
		if out[i].Status == s {
			c.LastTransitionTime = out[i].LastTransitionTime
		}
		out[i] = c
	}
	set(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory")
	set(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure")
	set(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID")
	set(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady")
	return out
}

func capacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(memoryBytes(), resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(200, resource.DecimalSI),
	}
}

func memoryBytes() int64 {
	var kib int64
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 1 << 30
	}
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err != nil {
		return 1 << 30
	}
	return kib << 10
}

func kernelRelease() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// retry calls f until it succeeds or ctx ends, and says once why it does not.
func (a *Agent) retry(ctx context.Context, task string, f func(context.Context) error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if wait == 200*time.Millisecond {
			a.Log.Warn("still trying", "task", task, "err", err)
		}
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
