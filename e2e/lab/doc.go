// Package lab brings up a real Kubernetes in network namespaces, with a real
// router in front of it, and lets a test break it.
//
//	ext 10.88.0.10 -- router 10.77.0.1 (FRR, AS 64512) -- LAN bridge -- client 10.77.0.100
//	                                                         |-- cp     10.77.0.5
//	                                                         |-- n1     10.77.0.11
//	                                                         `-- n2 ... 10.77.0.12 ...
//
// FarNodes are behind another port of the router instead, on a segment of their
// own: n3 would be 10.78.0.13 and fd78::13, its router 10.78.0.1 and fd78::1.
//
// Each of these places is a network namespace; every address has an IPv6 twin
// (fd77::11, fd88::10). Pods of node I have addresses of 10.244.I.0/24 and
// fd00:244:I::/64, Services of 10.96.0.0/16 and fd00:96::/112. 10.99.0.0/16 and
// fd99::/16 are free for addresses of LoadBalancer Services: nothing routes
// them until something announces them.
//
// etcd, the API server, the controllers, the scheduler, kube-proxy and the
// router are the real programs. Kubelets are real where Options.Kubelets says so:
// such a node boots as a machine of its own, with containerd, and runs images.
// Elsewhere they have a stand-in, nodelet, whose pods are processes in namespaces
// of their own.
//
// The host's own namespace gets no interface, route or rule. What it gets is
// one listening socket on loopback, behind which the API server answers.
package lab
