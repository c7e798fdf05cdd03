package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
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

func (p PodSpec) manifest() map[string]any {
	setDefault(&p.Image, "echo")
	setDefault(&p.Grace, 2)
	container := map[string]any{"name": "main", "image": p.Image, "args": p.Args, "imagePullPolicy": "IfNotPresent"}
	if p.Image == "echo" {
		container["readinessProbe"] = map[string]any{
			"httpGet":       map[string]any{"path": "/healthz", "port": 8080},
			"periodSeconds": 1, "failureThreshold": 1,
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
	HostNetwork bool
	Addrs       []netip.Addr
}

type apiPod struct {
	Metadata struct {
		Name, Namespace   string
		DeletionTimestamp *time.Time
	}
	Spec struct {
		NodeName    string
		HostNetwork bool
	}
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
		HostNetwork: p.Spec.HostNetwork,
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

// podNetns finds a pod's namespace by its address, which no two pods share.
func (l *Lab) podNetns(ctx context.Context, name string) (string, error) {
	pod, err := l.Pod(ctx, name)
	if err != nil {
		return "", err
	}
	if pod.HostNetwork {
		return l.Netns(ctx, pod.Node)
	}
	if len(pod.Addrs) == 0 {
		return "", fmt.Errorf("pod %s: no address yet", name)
	}
	for _, ns := range namespaces(l.podPrefix(pod.Node) + "-") {
		if hasAddr(ctx, ns, pod.Addrs[0]) {
			return ns, nil
		}
	}
	return "", fmt.Errorf("pod %s: no namespace on node %s has its address %v", name, pod.Node, pod.Addrs[0])
}

func hasAddr(ctx context.Context, ns string, addr netip.Addr) bool {
	out, err := run(ctx, "", "ip", "-n", ns, "-j", "addr", "show", "to", addr.String())
	return err == nil && strings.Contains(out, `"`+addr.String()+`"`)
}

// PodPIDs returns the processes of a pod. One with the node's network is known
// by its host name, which the nodelet sets to the pod's name.
func (l *Lab) PodPIDs(ctx context.Context, name string) ([]int, error) {
	pod, err := l.Pod(ctx, name)
	if err != nil {
		return nil, err
	}
	ns, err := l.podNetns(ctx, name)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, pid := range pidsIn(netnsInodes([]string{ns}), "") {
		if !pod.HostNetwork || hasEnv(fmt.Sprintf("/proc/%d", pid), "HOSTNAME="+pod.Name) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nil, errors.New("pod " + name + ": no process of it runs")
	}
	return pids, nil
}

// KillPod ends a pod's processes as kill -9 does.
func (l *Lab) KillPod(ctx context.Context, name string) error {
	pids, err := l.PodPIDs(ctx, name)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("pod %s: kill process %d: %w", name, pid, err)
		}
	}
	return nil
}
