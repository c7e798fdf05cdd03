package nodelet

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

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
