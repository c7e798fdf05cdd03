package lab

import (
	"context"
	"errors"
)

// RestartWatchers restarts the controllers, the scheduler and every kube-proxy.
//
// After an outage of the API server their watches try again after up to a
// minute (client-go's back-off). The controllers of a cluster with leader
// election end after ten seconds without the API server and are started again
// by the kubelet, so there they do not wait; kube-proxy does. What shall not
// measure this wait restarts them.
func (l *Lab) RestartWatchers(ctx context.Context) error {
	var nodes []Node
	for _, n := range l.Nodes() {
		if l.state().Procs["kube-proxy-"+n.Name].alive() {
			nodes = append(nodes, n)
		}
	}
	var errs []error
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		errs = append(errs, l.kill(name))
	}
	for _, n := range nodes {
		errs = append(errs, l.kill("kube-proxy-"+n.Name))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := l.startControllers(); err != nil {
		return err
	}
	return l.startProxies(ctx, nodes)
}
