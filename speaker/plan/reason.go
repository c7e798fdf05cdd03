package plan

// Reason says why a node announces an address or why not. The list is closed;
// metrics and explain use the values, so they are API.
type Reason string

// The reasons, in the order in which Compute asks.
const (
	// NoAddress: the allocator has not given the Service an address; its
	// condition says why.
	NoAddress Reason = "NoAddress"
	// AddressNotInPool: no pool of the configuration contains the address, so
	// nothing says how to announce it.
	AddressNotInPool Reason = "AddressNotInPool"
	// NodeUnknown: the cluster has no Node of this speaker's name.
	NodeUnknown Reason = "NodeUnknown"
	// NodeExcluded: the node carries Kubernetes' label that excludes it from
	// external load balancers.
	NodeExcluded Reason = "NodeExcluded"
	// NodeNetworkUnavailable: the node's condition NetworkUnavailable is True.
	NodeNetworkUnavailable Reason = "NodeNetworkUnavailable"
	// NodeNotReady: the node is not Ready while others are.
	NodeNotReady Reason = "NodeNotReady"
	// NoReadyEndpoint: no endpoint of the Service takes connections, on any node
	// that may announce.
	NoReadyEndpoint Reason = "NoReadyEndpoint"
	// NoReadyEndpointOnNode: externalTrafficPolicy is Local and the ready
	// endpoints are on other nodes.
	NoReadyEndpointOnNode Reason = "NoReadyEndpointOnNode"
	// SharerNotServed: a Service that shares the address has its endpoints on
	// other nodes only, and would lose its traffic here.
	SharerNotServed Reason = "SharerNotServed"
	// NoPeer: the configuration names no BGP peer.
	NoPeer Reason = "NoPeer"
	// Announced: the address is announced from this node.
	Announced Reason = "Announced"
)

// Reasons lists every Reason.
func Reasons() []Reason {
	return []Reason{
		NoAddress, AddressNotInPool, NodeUnknown, NodeExcluded, NodeNetworkUnavailable, NodeNotReady,
		NoReadyEndpoint, NoReadyEndpointOnNode, SharerNotServed, NoPeer, Announced,
	}
}

// Remedy says what to do about a Reason.
func (r Reason) Remedy() string {
	switch r {
	case NoAddress:
		return "look at the condition heraldlb.io/Allocated of the Service"
	case AddressNotInPool:
		return "put the address back into a pool, or ask for another one with the annotation heraldlb.io/load-balancer-ips"
	case NodeUnknown:
		return "start the speaker with --node equal to the name of its Node"
	case NodeExcluded:
		return "remove the label node.kubernetes.io/exclude-from-external-load-balancers from the node if it shall announce"
	case NodeNetworkUnavailable:
		return "wait for the network plugin to set the node's condition NetworkUnavailable to False"
	case NodeNotReady:
		return "find out why the kubelet of the node does not report Ready"
	case NoReadyEndpoint:
		return "check the selector and the readiness probes of the Service's pods"
	case NoReadyEndpointOnNode:
		return "nothing, if the pods run elsewhere by intent; else look at the readiness of this node's pods"
	case SharerNotServed:
		return "run pods of every Service that shares the address on the same nodes, or give the Services addresses of their own"
	case NoPeer:
		return "add the router to peers in the configuration"
	case Announced:
		return "nothing"
	default:
		return ""
	}
}
