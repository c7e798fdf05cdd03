// Package cluster holds what Herald knows of a Kubernetes cluster, as plain
// values. Nothing here speaks to an API server; internal/kube fills these in.
//
// A Snapshot is shared between goroutines: its holders must not change it.
package cluster

import (
	"net/netip"
	"strings"
	"time"
)

// Names that users write into their objects. They are API: a rename breaks them.
const (
	// Class is the spec.loadBalancerClass that asks for Herald by name. A
	// Service without a class is Herald's too.
	Class = "heraldlb.io/herald"

	// AnnotationPrefix marks the annotations that a Snapshot keeps.
	AnnotationPrefix = "heraldlb.io/"

	// AnnotationAddresses asks for addresses: one, or one per family, with a
	// comma between them.
	AnnotationAddresses = "heraldlb.io/load-balancer-ips"

	// AnnotationPool asks for an address out of the named pool.
	AnnotationPool = "heraldlb.io/address-pool"

	// AnnotationSharingKey lets Services of one namespace with the same value share
	// one address as long as their ports differ; of all namespaces where the pool
	// says so.
	AnnotationSharingKey = "heraldlb.io/allow-shared-ip"

	// MetalLBPrefix and OldMetalLBPrefix mark MetalLB's annotations, which are read
	// where the configuration says compatibility: metallb.
	MetalLBPrefix    = "metallb.io/"
	OldMetalLBPrefix = "metallb.universe.tf/"

	// ConditionAllocated is the type of the condition that the allocator writes
	// to status.conditions of each Service of its class.
	ConditionAllocated = "heraldlb.io/Allocated"

	// LabelExclude is Kubernetes' own label for nodes that external load
	// balancers must leave out (KEP-1143).
	LabelExclude = "node.kubernetes.io/exclude-from-external-load-balancers"

	// LabelProxy is Kubernetes' own label for Services that another proxy than
	// kube-proxy takes care of (KEP-2447).
	LabelProxy = "service.kubernetes.io/service-proxy-name"
)

// Snapshot is the cluster at one moment.
type Snapshot struct {
	Services []Service // sorted by Key
	Nodes    []Node    // sorted by Name
	Missing  Missing
}

// Missing names objects that were there a few minutes ago at most, and that a new
// list of the API server did not have. No watch told of their deletion, so nobody
// knows whether somebody deleted them, or whether the list is wrong. The zero
// value is none.
type Missing struct {
	Services  map[string]bool `json:",omitempty"` // by key
	Endpoints map[string]bool `json:",omitempty"` // keys of Services that lack an EndpointSlice
	Nodes     map[string]bool `json:",omitempty"` // by name
}

// Service is a Service together with its endpoints.
type Service struct {
	Namespace, Name string
	UID             string
	Created         time.Time
	Deleting        bool // has a deletionTimestamp

	LoadBalancer bool   // spec.type is LoadBalancer
	Class        string // spec.loadBalancerClass; empty when unset
	Labels       map[string]string

	NamespaceLabels map[string]string // of its Namespace, where Namespaces are watched

	Annotations map[string]string // only those under AnnotationPrefix, and MetalLB's
	Borrowed    bool              // what Annotations ask of Herald is translated from another controller's

	Families       []Family     // spec.ipFamilies, in order
	FamilyPolicy   FamilyPolicy // spec.ipFamilyPolicy
	LoadBalancerIP string       // spec.loadBalancerIP, as written
	ExternalIPs    []netip.Addr // spec.externalIPs: kube-proxy takes them on every node
	ClusterIPs     []netip.Addr // spec.clusterIPs, without None
	Ports          []Port
	LocalOnly      bool   // spec.externalTrafficPolicy is Local
	HealthPort     uint16 // spec.healthCheckNodePort; 0: none

	Ingress   []netip.Addr // status.loadBalancer.ingress[*].ip, in order
	Adorned   bool         // the ingress says what Herald never writes: a hostname, ports, a mode other than VIP
	StatusOf  string       // the field manager whose ingress it is, if it is not Herald; empty: Herald, or there is none
	Condition Condition    // of type ConditionAllocated; zero when absent

	Endpoints []Endpoint // one per address, merged over all EndpointSlices
}

// Key is namespace/name, as kubectl and events print it.
func (s Service) Key() string { return s.Namespace + "/" + s.Name }

// Ours tells whether Herald is responsible for the Service.
func (s Service) Ours() bool {
	return s.LoadBalancer && (s.Class == "" || s.Class == Class)
}

// Asked tells whether the Service asks for Herald by name: by its class, or by one
// of Herald's annotations.
func (s Service) Asked() bool {
	if s.Class == Class {
		return true
	}
	if s.Borrowed {
		return false
	}
	for _, name := range []string{AnnotationAddresses, AnnotationPool, AnnotationSharingKey} {
		if strings.TrimSpace(s.Annotations[name]) != "" {
			return true
		}
	}
	return false
}

// Another tells whether a Service that could be Herald's is another controller's:
// that one has written its ingress, Herald had given it nothing, and nobody has
// asked Herald for it.
func (s Service) Another() bool {
	return s.StatusOf != "" && !s.Condition.Allocated && !s.Asked()
}

// Family is an IP family, named as spec.ipFamilies names it.
type Family string

// The two families.
const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// FamilyOf is the family of an address. A 4-in-6 address counts as IPv6, so
// unmap addresses where they enter.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// FamilyPolicy is a value of spec.ipFamilyPolicy.
type FamilyPolicy string

// The policies of the Kubernetes API.
const (
	SingleStack      FamilyPolicy = "SingleStack"
	PreferDualStack  FamilyPolicy = "PreferDualStack"
	RequireDualStack FamilyPolicy = "RequireDualStack"
)

// Port is one port that a Service listens on.
type Port struct {
	Protocol string // TCP, UDP or SCTP
	Port     uint16
}

// Condition is what the allocator said of a Service last.
type Condition struct {
	Allocated bool // status is "True"
	Reason    string
	Message   string
}

// Endpoint is one address behind a Service.
type Endpoint struct {
	Addr  netip.Addr
	Node  string // empty: on no node that is known
	Ready bool   // takes new connections
	// Serving is Ready without regard to termination: kube-proxy sends to
	// endpoints that serve while they terminate when a node has no ready one
	// (KEP-1669).
	Serving     bool
	Terminating bool
	Pod         string // namespace/name where targetRef names one
}

// Node is a Kubernetes Node.
type Node struct {
	Name               string
	Created            time.Time
	Labels             map[string]string
	Annotations        map[string]string
	Taints             []string     // keys, sorted
	Deleting           bool         // has a deletionTimestamp
	ShuttingDown       bool         // the kubelet says that the node is shutting down
	Addrs              []netip.Addr // InternalIP addresses, in order
	External           []netip.Addr // ExternalIP addresses, in order
	PodCIDRs           []netip.Prefix
	Ready              bool // condition Ready is True
	NetworkUnavailable bool // condition NetworkUnavailable is True
	Unschedulable      bool // cordoned
}

// Addr is the node's first InternalIP of a family, or the zero Addr.
func (n Node) Addr(f Family) netip.Addr {
	for _, a := range n.Addrs {
		if FamilyOf(a) == f {
			return a
		}
	}
	return netip.Addr{}
}
