package kube

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/internal/cluster"
)

// A service is a Service without its endpoints, and what a write of its status
// needs beside.
type service struct {
	cluster.Service
	generation int64
	condition  metav1.Condition // ours, as it is; zero when absent
}

// toLabels is what is kept of a Namespace.
func toLabels(obj any) map[string]string {
	return obj.(*corev1.Namespace).Labels
}

func toService(obj any) service {
	s := obj.(*corev1.Service)
	out := service{
		Service: cluster.Service{
			Namespace:      s.Namespace,
			Name:           s.Name,
			UID:            string(s.UID),
			Created:        s.CreationTimestamp.Time,
			Deleting:       s.DeletionTimestamp != nil,
			LoadBalancer:   s.Spec.Type == corev1.ServiceTypeLoadBalancer,
			Class:          deref(s.Spec.LoadBalancerClass),
			Labels:         s.Labels,
			Annotations:    ownAnnotations(s.Annotations),
			FamilyPolicy:   cluster.FamilyPolicy(deref(s.Spec.IPFamilyPolicy)),
			LoadBalancerIP: s.Spec.LoadBalancerIP,
			LocalOnly:      s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
			HealthPort:     uint16(s.Spec.HealthCheckNodePort),
		},
		generation: s.Generation,
	}
	for _, f := range s.Spec.IPFamilies {
		out.Families = append(out.Families, cluster.Family(f))
	}
	out.ExternalIPs, out.ClusterIPs = parseAddrs(s.Spec.ExternalIPs), parseAddrs(s.Spec.ClusterIPs)
	for _, p := range s.Spec.Ports {
		out.Ports = append(out.Ports, cluster.Port{Protocol: string(p.Protocol), Port: uint16(p.Port)})
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		a, ok := parseAddr(in.IP)
		if ok { // an ingress may be a hostname
			out.Ingress = append(out.Ingress, a)
		}
		// A server that does not know ipMode drops it, and nil means VIP.
		if !ok || in.Hostname != "" || len(in.Ports) > 0 || derefOr(in.IPMode, corev1.LoadBalancerIPModeVIP) != corev1.LoadBalancerIPModeVIP {
			out.Adorned = true
		}
	}
	for _, c := range s.Status.Conditions {
		if c.Type == cluster.ConditionAllocated {
			out.condition = c
			out.Condition = cluster.Condition{
				Allocated: c.Status == metav1.ConditionTrue, Reason: c.Reason, Message: c.Message,
			}
		}
	}
	if len(s.Status.LoadBalancer.Ingress) > 0 {
		out.StatusOf = statusOf(s, out.condition.Type != "")
	}
	return out
}

func ownAnnotations(all map[string]string) map[string]string {
	var own map[string]string
	for k, v := range all {
		if strings.HasPrefix(k, cluster.AnnotationPrefix) || strings.HasPrefix(k, cluster.MetalLBPrefix) || strings.HasPrefix(k, cluster.OldMetalLBPrefix) {
			if own == nil {
				own = make(map[string]string)
			}
			own[k] = v
		}
	}
	return own
}

// A slice is an EndpointSlice: which Service it is of, and its endpoints.
type slice struct {
	service   string
	endpoints []cluster.Endpoint
}

func toSlice(obj any) slice {
	s := obj.(*discoveryv1.EndpointSlice)
	name := s.Labels[discoveryv1.LabelServiceName]
	if name == "" || s.AddressType == discoveryv1.AddressTypeFQDN {
		return slice{}
	}
	out := slice{service: s.Namespace + "/" + name}
	for _, e := range s.Endpoints {
		if ep, ok := toEndpoint(e); ok {
			out.endpoints = append(out.endpoints, ep)
		}
	}
	return out
}

// toEndpoint reads conditions as the API documents nil: a producer that does not
// say is ready, serves as much as it is ready, and does not terminate. Addresses
// after the first have no defined meaning, and kube-proxy ignores them too.
func toEndpoint(e discoveryv1.Endpoint) (cluster.Endpoint, bool) {
	if len(e.Addresses) == 0 {
		return cluster.Endpoint{}, false
	}
	addr, ok := parseAddr(e.Addresses[0])
	ready := derefOr(e.Conditions.Ready, true)
	out := cluster.Endpoint{
		Addr:        addr,
		Node:        deref(e.NodeName),
		Ready:       ready,
		Serving:     derefOr(e.Conditions.Serving, ready),
		Terminating: derefOr(e.Conditions.Terminating, false),
	}
	if t := e.TargetRef; t != nil && t.Kind == "Pod" {
		out.Pod = t.Namespace + "/" + t.Name
	}
	return out, ok
}

// mergeEndpoints makes one endpoint of each address, the one that serves best. An
// address stands in several slices while a controller moves its endpoint, while
// an old pod of the node's network ends and a new one starts, or while a virtual
// machine moves to another node and keeps its address. It must not count twice,
// and not where it is not ready.
func mergeEndpoints(all []cluster.Endpoint) []cluster.Endpoint {
	slices.SortFunc(all, func(a, b cluster.Endpoint) int {
		return cmp.Or(
			a.Addr.Compare(b.Addr),
			cmp.Compare(rankOf(b), rankOf(a)),
			strings.Compare(b.Node, a.Node), // one that names its node first
			strings.Compare(b.Pod, a.Pod),
		)
	})
	return slices.CompactFunc(all, func(a, b cluster.Endpoint) bool { return a.Addr == b.Addr })
}

// rankOf orders endpoints by what kube-proxy sends to them: new connections; or
// those that find no better one (KEP-1669); or nothing.
func rankOf(e cluster.Endpoint) int {
	switch {
	case e.Ready:
		return 2
	case e.Serving && e.Terminating:
		return 1
	default:
		return 0
	}
}

func toNode(obj any) cluster.Node {
	n := obj.(*corev1.Node)
	out := cluster.Node{
		Name:          n.Name,
		Created:       n.CreationTimestamp.Time,
		Labels:        n.Labels,
		Annotations:   n.Annotations,
		Unschedulable: n.Spec.Unschedulable,
		Deleting:      n.DeletionTimestamp != nil,
	}
	for _, t := range n.Spec.Taints {
		out.Taints = append(out.Taints, t.Key)
	}
	slices.Sort(out.Taints)
	for _, a := range n.Status.Addresses {
		addr, ok := parseAddr(a.Address)
		switch {
		case ok && a.Type == corev1.NodeInternalIP:
			out.Addrs = append(out.Addrs, addr)
		case ok && a.Type == corev1.NodeExternalIP:
			out.External = append(out.External, addr)
		}
	}
	for _, text := range n.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out.PodCIDRs = append(out.PodCIDRs, p)
		}
	}
	for _, c := range n.Status.Conditions {
		is := c.Status == corev1.ConditionTrue
		switch c.Type {
		case corev1.NodeReady:
			out.Ready = is
			// The kubelet's graceful shutdown has no condition of its own; it says so
			// in these words (KEP-2000).
			out.ShuttingDown = !is && strings.Contains(c.Message, "node is shutting down")
		case corev1.NodeNetworkUnavailable:
			out.NetworkUnavailable = is
		default: // pressure of memory and the like concerns pods, not addresses
		}
	}
	return out
}

func toConfigMap(obj any) cluster.ConfigMap {
	c := obj.(*corev1.ConfigMap)
	return cluster.ConfigMap{
		Namespace:   c.Namespace,
		Name:        c.Name,
		UID:         string(c.UID),
		Version:     c.ResourceVersion,
		Annotations: ownAnnotations(c.Annotations),
		Data:        c.Data,
		Binary:      slices.Sorted(maps.Keys(c.BinaryData)),
	}
}

func parseAddrs(list []string) (all []netip.Addr) {
	for _, s := range list {
		if a, ok := parseAddr(s); ok {
			all = append(all, a)
		}
	}
	return all
}

func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil
}

func deref[T any](p *T) T {
	var zero T
	return derefOr(p, zero)
}

func derefOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
