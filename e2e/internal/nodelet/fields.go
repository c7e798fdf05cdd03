package nodelet

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// fieldSource answers what a pod may ask about itself. Addresses are not taken
// from the pod's status: they are known before the API has them.
type fieldSource struct {
	pod   *corev1.Pod
	node  string
	pods  []netip.Addr // the pod's own
	hosts []netip.Addr
}

// hostname of a pod on the node's network is the node's.
func (f fieldSource) hostname() string {
	switch {
	case f.pod.Spec.HostNetwork:
		return f.node
	case f.pod.Spec.Hostname != "":
		return f.pod.Spec.Hostname
	}
	return f.pod.Name[:min(len(f.pod.Name), 63)]
}

func (f fieldSource) field(path string) (string, error) {
	if name, key, ok := cutSubscript(path); ok {
		switch name {
		case "metadata.labels":
			return f.pod.Labels[key], nil
		case "metadata.annotations":
			return f.pod.Annotations[key], nil
		}
	}
	switch path {
	case "metadata.name":
		return f.pod.Name, nil
	case "metadata.namespace":
		return f.pod.Namespace, nil
	case "metadata.uid":
		return string(f.pod.UID), nil
	case "metadata.labels":
		return properties(f.pod.Labels), nil
	case "metadata.annotations":
		return properties(f.pod.Annotations), nil
	case "spec.nodeName":
		return f.node, nil
	case "spec.serviceAccountName":
		return f.pod.Spec.ServiceAccountName, nil
	case "status.podIP":
		return first(f.pods), nil
	case "status.podIPs":
		return joined(f.pods), nil
	case "status.hostIP":
		return first(f.hosts), nil
	case "status.hostIPs":
		return joined(f.hosts), nil
	}
	return "", fmt.Errorf("field %s is not supported", path)
}

// cutSubscript splits a path such as metadata.labels['app'].
func cutSubscript(path string) (name, key string, ok bool) {
	name, rest, ok := strings.Cut(path, "['")
	if !ok {
		return "", "", false
	}
	key, ok = strings.CutSuffix(rest, "']")
	return name, key, ok
}

func properties(m map[string]string) string {
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, fmt.Sprintf("%s=%q", k, m[k]))
	}
	return strings.Join(lines, "\n")
}

func first(a []netip.Addr) string {
	if len(a) == 0 {
		return ""
	}
	return a[0].String()
}

func joined(a []netip.Addr) string {
	var out []string
	for _, x := range a {
		out = append(out, x.String())
	}
	return strings.Join(out, ",")
}

// resource is a request or limit in units of the divisor, rounded up. A limit
// that is not set is what the node has.
func (f fieldSource) resource(ref *corev1.ResourceFieldSelector, c *corev1.Container) (string, error) {
	kind, name, ok := strings.Cut(ref.Resource, ".")
	if !ok || (kind != "limits" && kind != "requests") {
		return "", fmt.Errorf("resource %s is not supported", ref.Resource)
	}
	list := c.Resources.Requests
	if kind == "limits" {
		list = c.Resources.Limits
	}
	q, ok := list[corev1.ResourceName(name)]
	if !ok && kind == "limits" {
		q = capacity()[corev1.ResourceName(name)]
	}
	return fmt.Sprint(divide(q, ref.Divisor)), nil
}

func divide(q, divisor resource.Quantity) int64 {
	by := divisor.MilliValue()
	if by == 0 {
		by = 1000
	}
	return (q.MilliValue() + by - 1) / by
}
