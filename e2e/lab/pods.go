package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// A PodSpec is a pod to run. Only the name is required.
type PodSpec struct {
	Name        string
	Namespace   string // empty: default
	Node        string // empty: the scheduler chooses
	Labels      map[string]string
	Image       string // its last element is a file in a BinDir; empty: echo
	Args        []string
	HostNetwork bool
	Grace       int // seconds from deletion to SIGKILL; zero: 2
}

// RunPod creates a pod. With the image echo it is ready once it answers
// /healthz on port 8080.
func (l *Lab) RunPod(ctx context.Context, p PodSpec) error {
	setDefault(&p.Namespace, "default")
	body, err := json.Marshal(p.manifest())
	if err != nil {
		return err
	}
	if _, err = l.API(ctx, http.MethodPost, "/api/v1/namespaces/"+p.Namespace+"/pods", body); err != nil {
		return fmt.Errorf("run pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return nil
}

// identity is what the echo server calls itself.
var identity = []any{fromField("POD_NAME", "metadata.name"), fromField("NODE_NAME", "spec.nodeName")}

func fromField(name, path string) map[string]any {
	return map[string]any{"name": name, "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": path}}}
}

func (p PodSpec) manifest() map[string]any {
	setDefault(&p.Image, "echo")
	setDefault(&p.Grace, 2)
	container := map[string]any{
		"name": "main", "image": p.Image, "args": p.Args, "env": identity,
		"imagePullPolicy": "Never", // there is no registry
	}
	if p.Image == "echo" {
		container["readinessProbe"] = map[string]any{
			"httpGet": map[string]any{"path": "/healthz", "port": 8080},
			// A bad answer counts at once; on a busy machine a good one may take its time.
			"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 5,
		}
	}
	spec := map[string]any{
		"containers":                    []any{container},
		"terminationGracePeriodSeconds": p.Grace,
		"hostNetwork":                   p.HostNetwork,
	}
	if p.Node != "" {
		spec["nodeName"] = p.Node
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": p.Name, "namespace": p.Namespace, "labels": p.Labels},
		"spec":     spec,
	}
}

// RemovePod asks for a pod's deletion, with its own grace period, and does not
// wait for it. The pod is given as NAMESPACE/NAME, or as NAME in default.
func (l *Lab) RemovePod(ctx context.Context, pod string) error {
	_, err := l.API(ctx, http.MethodDelete, podPath(pod), nil)
	if err != nil {
		return fmt.Errorf("remove pod %s: %w", pod, err)
	}
	return nil
}

func podPath(pod string) string {
	ns, name := splitPod(pod)
	return "/api/v1/namespaces/" + ns + "/pods/" + name
}

func splitPod(pod string) (namespace, name string) {
	if ns, name, ok := strings.Cut(pod, "/"); ok {
		return ns, name
	}
	return "default", pod
}

// SetReady makes the echo server of a pod answer its readiness probe well or
// badly. The API shows it after the probe's next turn.
func (l *Lab) SetReady(ctx context.Context, pod string, ready bool) error {
	path := "/unready"
	if ready {
		path = "/ready"
	}
	_, err := l.Exec(ctx, "pod:"+pod, "curl", "-sfm3", "-X", "POST", "-o", "/dev/null", "http://127.0.0.1:8080"+path)
	if err != nil {
		return fmt.Errorf("pod %s: set ready to %v: %w", pod, ready, err)
	}
	return nil
}

// A Pod is what the API says of one.
type Pod struct {
	Namespace   string
	Name        string
	Node        string
	Phase       string
	Ready       bool
	Terminating bool
	Addrs       []netip.Addr
}

type apiPod struct {
	Metadata struct {
		Name, Namespace   string
		DeletionTimestamp *time.Time
	}
	Spec   struct{ NodeName string }
	Status struct {
		Phase      string
		Conditions []condition
		PodIPs     []struct{ IP netip.Addr }
	}
}

func (p apiPod) pod() Pod {
	pod := Pod{
		Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, Node: p.Spec.NodeName, Phase: p.Status.Phase,
		Ready: isTrue(p.Status.Conditions, "Ready"), Terminating: p.Metadata.DeletionTimestamp != nil,
	}
	for _, a := range p.Status.PodIPs {
		pod.Addrs = append(pod.Addrs, a.IP)
	}
	return pod
}

// Pod returns one pod, given as NAMESPACE/NAME, or as NAME in default.
func (l *Lab) Pod(ctx context.Context, pod string) (Pod, error) {
	var p apiPod
	if err := l.Get(ctx, podPath(pod), &p); err != nil {
		return Pod{}, err
	}
	return p.pod(), nil
}

// Pods returns all pods, by namespace and name.
func (l *Lab) Pods(ctx context.Context) ([]Pod, error) {
	var list struct{ Items []apiPod }
	if err := l.Get(ctx, "/api/v1/pods", &list); err != nil {
		return nil, err
	}
	var pods []Pod
	for _, p := range list.Items {
		pods = append(pods, p.pod())
	}
	return pods, nil
}

// WaitPods waits until these pods are ready.
func (l *Lab) WaitPods(ctx context.Context, atMost time.Duration, pods ...string) error {
	for _, name := range pods {
		err := waitFor(ctx, atMost, "pod "+name+" to be ready", func() error {
			p, err := l.Pod(ctx, name)
			if err == nil && !p.Ready {
				err = fmt.Errorf("it is not; phase %s on node %s", p.Phase, p.Node)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
