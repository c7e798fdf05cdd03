package lab

import "context"

// KillProxy kills kube-proxy on a node. Its rules stay as they are.
func (l *Lab) KillProxy(node string) error { return l.kill("kube-proxy-" + node) }

// StartProxy starts it again, and waits until it has written its rules.
func (l *Lab) StartProxy(ctx context.Context, node string) error {
	n, err := l.Node(node)
	if err != nil {
		return err
	}
	if err := l.startProxy(n); err != nil {
		return err
	}
	return l.waitProxy(ctx, n)
}
