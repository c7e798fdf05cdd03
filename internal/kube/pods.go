package kube

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pod is what is known of a pod of the Client's namespace.
type Pod struct {
	Name, Node string
	Running    bool           // and not about to end
	Ports      map[string]int // those of its containers, by name
}

// Pods lists the pods with the given labels once, in the form that kubectl takes.
func (c *Client) Pods(ctx context.Context, labels string) ([]Pod, error) {
	list, err := c.api.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	switch {
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you may not list pods in the namespace %s", c.namespace)
	case err != nil:
		return nil, fmt.Errorf("list pods in the namespace %s: %w", c.namespace, err)
	}
	out := make([]Pod, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, podOf(&list.Items[i]))
	}
	return out, nil
}

func podOf(p *corev1.Pod) Pod {
	out := Pod{
		Name: p.Name, Node: p.Spec.NodeName, Ports: map[string]int{},
		Running: p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil,
	}
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			out.Ports[port.Name] = int(port.ContainerPort)
		}
	}
	return out
}

// AskPod gets a path of a pod's HTTP server. The API server passes it on: nodes
// need not be reachable from here.
func (c *Client) AskPod(ctx context.Context, pod string, port int, path string, query url.Values) ([]byte, error) {
	req := c.api.CoreV1().RESTClient().Get().Namespace(c.namespace).Resource("pods").
		Name("http:" + pod + ":" + strconv.Itoa(port)).SubResource("proxy").Suffix(path).
		MaxRetries(0)
	for name, values := range query {
		for _, v := range values {
			req.Param(name, v)
		}
	}
	r := req.Do(ctx)
	err := r.Error() // Raw's own knows only that there is one
	switch {
	case err == nil:
		return r.Raw()
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you may not get pods/proxy in the namespace %s", c.namespace)
	default:
		return nil, notReached(err)
	}
}

// notReached leaves out where the API server has tried to reach a pod, so that the
// same failure reads the same for all pods.
func notReached(err error) error {
	said, found := strings.CutPrefix(err.Error(), "error trying to reach service: ")
	if !found {
		return err
	}
	return errors.New("the API server cannot reach it: " + strings.TrimSpace(said[strings.LastIndex(said, ": ")+1:]))
}
