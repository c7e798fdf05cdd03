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
	// NodeCordoned: the node is cordoned, and the configuration says that such
	// nodes leave.
	NodeCordoned Reason = "NodeCordoned"
	// NodeNotSelected: the nodeSelector of the pool does not select the node.
	NodeNotSelected Reason = "NodeNotSelected"
	// NoReadyEndpoint: no endpoint of the Service takes connections, on any node
	// that may announce.
	NoReadyEndpoint Reason = "NoReadyEndpoint"
	// NoReadyEndpointOnNode: externalTrafficPolicy is Local and the ready
	// endpoints are on other nodes.
	NoReadyEndpointOnNode Reason = "NoReadyEndpointOnNode"
	// SharerNotServed: a Service that shares the address has its endpoints on
	// other nodes only, and would lose its traffic here.
	SharerNotServed Reason = "SharerNotServed"
	// NoPeer: the configuration has no BGP peer that this node can have a session
	// with.
	NoPeer Reason = "NoPeer"
	// NotAdvertised: no advertisement of the configuration says to announce the
	// address from this node to one of its peers.
	NotAdvertised Reason = "NotAdvertised"
	// Layer2Off: the pool is announced at layer 2 only, and the speakers run
	// without gossip, so that nobody could tell who owns an address.
	Layer2Off Reason = "Layer2Off"
	// NotOwner: the pool is announced at layer 2 only, and another node, or none,
	// owns the address.
	NotOwner Reason = "NotOwner"
	// NoUsableLink: this node owns the address at layer 2, but has no link that can
	// carry it, so nobody answers for it.
	NoUsableLink Reason = "NoUsableLink"
	// NotForwarding: the node does not forward what comes for the address yet, so
	// what it would draw were lost.
	NotForwarding Reason = "NotForwarding"
	// RulesOutdated: kube-proxy on the node is dead or stuck, and its rules for the
	// address lead to endpoints that are gone. Where another node is known to serve the
	// address, the route says so for nodes.drainTime, and then goes.
	RulesOutdated Reason = "RulesOutdated"
	// NodeDraining: the node is about to stop announcing. Its routes say so
	// (GRACEFUL_SHUTDOWN) for nodes.drainTime, and then go.
	NodeDraining Reason = "NodeDraining"
	// SpeakerLeaving: the speaker was told to leave; its routes say so for
	// nodes.drainTime, and then go.
	SpeakerLeaving Reason = "SpeakerLeaving"
	// EndpointsTerminating: the endpoints on this node still serve while they
	// terminate, and other nodes have ready ones. The route says so for
	// nodes.drainTime, and then goes.
	EndpointsTerminating Reason = "EndpointsTerminating"
	// WithdrawalHeld: nobody would announce the address any more, and so it is with
	// so many addresses at once that an error is likely. It is announced for
	// nodes.fuse.holdTime more.
	WithdrawalHeld Reason = "WithdrawalHeld"
	// Announced: the address is announced from this node.
	Announced Reason = "Announced"
)

// Reasons lists every Reason.
func Reasons() []Reason {
	return []Reason{
		NoAddress, AddressNotInPool, NodeUnknown, NodeExcluded, NodeNetworkUnavailable, NodeNotReady,
		NodeCordoned, NodeNotSelected, NoReadyEndpoint, NoReadyEndpointOnNode, SharerNotServed, NoPeer,
		NotAdvertised, Layer2Off, NotOwner, NoUsableLink, NotForwarding, RulesOutdated, NodeDraining, SpeakerLeaving,
		EndpointsTerminating, WithdrawalHeld, Announced,
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
	case NodeCordoned:
		return "uncordon the node, or set nodes.cordoned to keep"
	case NodeNotSelected:
		return "label the node as the pool's nodeSelector wants it, if it shall announce"
	case NoReadyEndpoint:
		return "check the selector and the readiness probes of the Service's pods"
	case NoReadyEndpointOnNode:
		return "nothing, if the pods run elsewhere by intent; else look at the readiness of this node's pods"
	case SharerNotServed:
		return "run pods of every Service that shares the address on the same nodes, or give the Services addresses of their own"
	case NoPeer:
		return "add the router to peers in the configuration, let the nodeSelector of a peer select the node, or give the node what the peer looks up there"
	case NotAdvertised:
		return "let an entry of advertisements select the address's pool and Service, the node and one of its peers"
	case Layer2Off:
		return "install manifests/overlays/layer2, which gives the speakers a key for their gossip"
	case NotOwner:
		return "nothing, if another node owns the address; else start the speakers of the nodes that can serve it"
	case NoUsableLink:
		return "give the node an interface in the address's subnet, check the pool's interfaces, or leave the node out by its nodeSelector"
	case NotForwarding:
		return "wait for kube-proxy; if it lasts, look at the log of kube-proxy on the node"
	case RulesOutdated:
		return "start kube-proxy on the node again, or look at its log"
	case NodeDraining:
		return "nothing, if the node shall leave; else remove the taint or the annotation that nodes.drainTaint and nodes.drainAnnotation name"
	case SpeakerLeaving:
		return "nothing: a speaker that is started again announces again"
	case EndpointsTerminating:
		return "nothing: the other nodes take over"
	case WithdrawalHeld:
		return "find out what happened to the endpoints; if nothing did, look at the API server and at the node controller"
	case Announced:
		return "nothing"
	default:
		return ""
	}
}
