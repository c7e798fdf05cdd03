package nodelet

import (
	"context"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/e2e/internal/podnet"
)

// setUp makes network and volumes. It is called again until it succeeds.
func (w *worker) setUp(ctx context.Context) error {
	if err := w.setUpNetwork(ctx); err != nil {
		w.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", err.Error())
		return err
	}
	if w.volumes == nil {
		w.volumes = &volumes{agent: w.agent, pod: w.manifest, dir: filepath.Join(w.dir, "volumes"), field: w.fields()}
	}
	mounts, err := w.volumes.prepare(ctx)
	if err != nil {
		w.event(corev1.EventTypeWarning, "FailedMount", err.Error())
		return err
	}
	w.mounts = mounts
	w.mu.Lock()
	w.ready = true
	w.mu.Unlock()
	return w.writeRecord()
}

func (w *worker) setUpNetwork(ctx context.Context) error {
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	if w.manifest.Spec.HostNetwork || w.net.Load() != nil {
		return nil
	}
	n, err := w.agent.net.Add(ctx, w.id())
	if err != nil {
		return err
	}
	if err := podnet.InNetNS(n.Path(), w.setSysctls); err != nil {
		_ = w.agent.net.Remove(ctx, n)
		return err
	}
	w.net.Store(&n)
	return nil
}

func (w *worker) setSysctls() error {
	if w.manifest.Spec.SecurityContext == nil {
		return nil
	}
	for _, s := range w.manifest.Spec.SecurityContext.Sysctls {
		if err := podnet.SetSysctl(s.Name, s.Value); err != nil {
			return err
		}
	}
	return nil
}
