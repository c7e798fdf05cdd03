package nodelet

import (
	"context"
	"errors"
	"fmt"
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
	default:
		return !c.isInit || code != 0
	}
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
