package nodelet

import (
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// container is one container of a pod over all its restarts.
type container struct {
	w      *worker
	spec   *corev1.Container
	isInit bool

	mu       sync.Mutex
	state    corev1.ContainerState
	last     corev1.ContainerState
	restarts int32
	started  bool
	ready    bool
	lives    int // how often it was started, 1 standing for all in earlier runs
}

// newContainer takes over the counts of an earlier run of the node, in which
// the container died with it.
func newContainer(w *worker, spec *corev1.Container, old []corev1.ContainerStatus, isInit bool) *container {
	c := &container{w: w, spec: spec, isInit: isInit}
	c.state.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	i := slices.IndexFunc(old, func(s corev1.ContainerStatus) bool { return s.Name == spec.Name })
	if i < 0 {
		return c
	}
	was := old[i]
	c.last, c.restarts = was.LastTerminationState, was.RestartCount
	if was.State.Terminated != nil {
		c.last.Terminated = was.State.Terminated
	}
	if was.State.Running != nil {
		c.last.Terminated = lost(was)
	}
	if c.last.Terminated != nil {
		c.lives = 1
	}
	finished := w.manifest.Status.Phase == corev1.PodSucceeded || w.manifest.Status.Phase == corev1.PodFailed
	if finished || w.manifest.Spec.RestartPolicy == corev1.RestartPolicyNever && c.last.Terminated != nil {
		c.state, c.last, c.restarts = corev1.ContainerState{Terminated: c.last.Terminated}, was.LastTerminationState, was.RestartCount
	}
	return c
}

func lost(was corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "the node went down",
		StartedAt: was.State.Running.StartedAt, FinishedAt: metav1.Now().Rfc3339Copy(), ContainerID: was.ContainerID,
	}
}

func (c *container) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Terminated != nil
}

func (c *container) status() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	started := c.started
	return corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: "file://" + imageBase(c.spec.Image),
		State: *c.state.DeepCopy(), LastTerminationState: *c.last.DeepCopy(),
		Ready: c.ready, Started: &started, RestartCount: c.restarts, ContainerID: c.id(),
	}
}

func (c *container) id() string {
	if c.state.Running == nil && c.state.Terminated == nil {
		return ""
	}
	return fmt.Sprintf("nodelet://%s-%s-%d", c.w.id(), c.spec.Name, c.restarts)
}

// set changes what the status shows, under the lock, and has it posted.
func (c *container) set(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	c.w.statusChanged()
}
