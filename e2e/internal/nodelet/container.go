package nodelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/e2e/internal/contain"
)

const (
	firstBackOff = 200 * time.Millisecond
	lastBackOff  = 5 * time.Second
	// longEnough is how long a container must have run for its next failure to
	// count as the first again.
	longEnough = 10 * time.Second
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

// run starts the container again and again as its pod's policy says, and
// returns true if its last life ended well.
func (c *container) run(stop context.Context) bool {
	backOff := firstBackOff
	for {
		begin := time.Now()
		code, ran := c.live(stop)
		if stop.Err() != nil || ran && !c.again(code) {
			return ran && code == 0
		}
		if time.Since(begin) > longEnough {
			backOff = firstBackOff
		}
		if ran {
			c.waitForNextLife(code)
		}
		if !sleep(stop, backOff) {
			return false
		}
		backOff = min(2*backOff, lastBackOff)
	}
}

func (c *container) again(code int) bool {
	switch c.w.manifest.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	}
	return !c.isInit || code != 0
}

func (c *container) waitForNextLife(code int) {
	c.set(func() {
		c.last = c.state
		c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason:  "CrashLoopBackOff",
			Message: fmt.Sprintf("container ended with code %d", code),
		}}
	})
	c.w.eventf(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s", c.spec.Name)
}

// live is one life. ran is false if the container could not even be described,
// because an image or a referred object is missing.
func (c *container) live(stop context.Context) (code int, ran bool) {
	spec, reason, err := c.describe(stop)
	if err != nil {
		c.wait(reason, err)
		return 0, false
	}
	out, err := c.openLog(spec)
	if err != nil {
		c.wait("CreateContainerError", err)
		return 0, false
	}
	defer out.Close()
	if stop.Err() != nil {
		return 0, false
	}
	begin := metav1.Now().Rfc3339Copy()
	c.beginLife()
	p, err := contain.Start(spec, out)
	var notStarted *contain.StartError
	if errors.As(err, &notStarted) {
		c.w.eventf(corev1.EventTypeWarning, "Failed", "Error: %v", err)
		c.end(corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: err.Error(), StartedAt: begin})
		return 128, true
	}
	if err != nil {
		c.wait("CreateContainerError", err)
		return 0, false
	}
	forget := c.recordPid(p.Pid)
	defer forget()
	c.set(func() {
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: begin}}
		c.started, c.ready = c.spec.StartupProbe == nil, c.spec.StartupProbe == nil && c.spec.ReadinessProbe == nil
	})
	c.w.eventf(corev1.EventTypeNormal, "Started", "Started container %s", c.spec.Name)
	return c.attend(stop, p, begin), true
}

// beginLife counts: the first life of all is not a restart.
func (c *container) beginLife() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lives++
	if c.lives > 1 {
		c.restarts++
	}
}

func (c *container) wait(reason string, err error) {
	c.set(func() {
		c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: err.Error()}}
	})
	c.w.eventf(corev1.EventTypeWarning, "Failed", "Error: %v", err)
}

func (c *container) end(t corev1.ContainerStateTerminated) {
	t.FinishedAt = metav1.Now().Rfc3339Copy()
	c.set(func() {
		t.ContainerID = fmt.Sprintf("nodelet://%s-%s-%d", c.w.id(), c.spec.Name, c.restarts)
		c.state = corev1.ContainerState{Terminated: &t}
		c.started, c.ready = false, false
	})
}

// attend probes a running container, stops it when it must stop, and returns
// its exit code.
func (c *container) attend(stop context.Context, p *contain.Process, begin metav1.Time) int {
	life, endLife := context.WithCancel(context.Background())
	unhealthy := c.startProbes(life, stop)
	exited := make(chan struct{})
	var code, signal int
	go func() {
		defer close(exited)
		code, signal = p.Wait()
	}()
	c.control(stop, p, unhealthy, exited)
	endLife()
	t := corev1.ContainerStateTerminated{ExitCode: int32(code), Signal: int32(signal), Reason: "Completed", StartedAt: begin}
	if code != 0 {
		t.Reason = "Error"
	}
	c.end(t)
	return code
}

// control returns after the container has exited. Signals that come too late
// are no error.
func (c *container) control(stop context.Context, p *contain.Process, unhealthy <-chan *corev1.Probe, exited <-chan struct{}) {
	stopping, kill := stop.Done(), c.w.kill
	var patience <-chan time.Time
	for {
		select {
		case <-exited:
			return
		case <-stopping:
			stopping = nil
			c.w.eventf(corev1.EventTypeNormal, "Killing", "Stopping container %s", c.spec.Name)
			_ = p.Signal(syscall.SIGTERM)
		case <-kill:
			kill = nil
			_ = p.Signal(syscall.SIGKILL)
		case probe := <-unhealthy:
			_ = p.Signal(syscall.SIGTERM)
			patience = time.After(c.restartGrace(probe))
		case <-patience:
			_ = p.Signal(syscall.SIGKILL)
		}
	}
}

func (c *container) restartGrace(probe *corev1.Probe) time.Duration {
	s := deref(c.w.manifest.Spec.TerminationGracePeriodSeconds)
	if probe.TerminationGracePeriodSeconds != nil {
		s = *probe.TerminationGracePeriodSeconds
	}
	return time.Duration(s) * time.Second
}

// startProbes runs the container's probes for one life. The channel brings the
// probe for which the container must be restarted.
func (c *container) startProbes(life, stop context.Context) <-chan *corev1.Probe {
	unhealthy := make(chan *corev1.Probe, 2)
	// A pod that is being deleted is not restarted any more, but whether it is
	// ready still matters: it may be serving until its end.
	alive, cancel := context.WithCancel(life)
	context.AfterFunc(stop, cancel)
	context.AfterFunc(life, cancel)
	go func() {
		if p := c.spec.StartupProbe; p != nil && !c.startUp(alive, p) {
			if alive.Err() == nil {
				unhealthy <- p
			}
			return
		}
		if p := c.spec.LivenessProbe; p != nil {
			go c.prober(p).run(alive, func(good bool, why error) bool {
				if !good {
					c.failedProbe("Liveness", why)
					unhealthy <- p
				}
				return good
			})
		}
		if p := c.spec.ReadinessProbe; p != nil {
			c.prober(p).run(life, func(good bool, why error) bool {
				if !good {
					c.failedProbe("Readiness", why)
				}
				c.set(func() { c.ready = good && c.state.Running != nil })
				return true
			})
		}
	}()
	return unhealthy
}

// startUp waits for the startup probe and returns false if it fails.
func (c *container) startUp(ctx context.Context, p *corev1.Probe) (ok bool) {
	c.prober(p).run(ctx, func(good bool, why error) bool {
		ok = good
		if !good {
			c.failedProbe("Startup", why)
		}
		return false
	})
	if ok {
		c.set(func() { c.started, c.ready = true, c.spec.ReadinessProbe == nil })
	}
	return ok
}

func (c *container) failedProbe(kind string, why error) {
	c.w.eventf(corev1.EventTypeWarning, "Unhealthy", "%s probe failed: %v", kind, why)
}

func (c *container) prober(p *corev1.Probe) prober {
	return prober{probe: p, check: checkOf(p, c.spec, first(c.w.addrs()))}
}

// openLog opens the log of the coming life; the program must be able to open
// it again by /dev/stdout, so it is its own.
func (c *container) openLog(s contain.Spec) (*os.File, error) {
	file := c.logFile(c.coming())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	if err := f.Chown(int(s.UID), int(s.GID)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// coming is the restart count of the life that is about to begin.
func (c *container) coming() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lives > 0 {
		return c.restarts + 1
	}
	return c.restarts
}

func (c *container) logFile(life int32) string {
	w := c.w
	dir := fmt.Sprintf("%s_%s_%s", w.namespace, w.name, w.id())
	return filepath.Join(w.agent.logsDir(), dir, fmt.Sprintf("%s.%d.log", c.spec.Name, life))
}
