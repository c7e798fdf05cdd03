package plan

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// After an outage of the API server, Kubernetes' node controller may call every
// node dead: it judges by heartbeats that it has not had the time to hear of. It
// then marks all pods of these nodes not ready, for as long as it takes the
// kubelets to protest. Withdrawing for that would break every established
// connection for nothing.
//
// So for doubtWindow after an outage, an endpoint that loses its readiness without
// terminating is believed to be ready for doubtShort more. If by then every ready
// endpoint of its node has lost it, which is the node controller's signature, for
// doubtLong. A pod that is deleted and a Service that goes are believed at once.
const (
	doubtWindow = time.Minute
	doubtShort  = 2 * time.Second
	doubtLong   = 20 * time.Second
)

// Doubts remembers what is not believed, and until when. The zero value believes
// everything.
type Doubts struct {
	last      cluster.Snapshot // as believed
	endpoints map[endpointKey]doubt
	nodes     map[string]doubt
}

type doubt struct {
	since time.Time
	long  bool
}

func (d doubt) until() time.Time {
	if d.long {
		return d.since.Add(doubtLong)
	}
	return d.since.Add(doubtShort)
}

type endpointKey struct {
	service string
	addr    netip.Addr
	node    string // another pod may have the address on another node
}

// Held is how many endpoints and nodes count as ready although the API server
// says otherwise.
func (d Doubts) Held() int { return len(d.endpoints) + len(d.nodes) }

// Doubt returns the snapshot to believe at now, if the API server was away last
// at lastAway, and when to ask again without an event, or the zero time. Like
// all of this package it changes none of its arguments.
func (d Doubts) Doubt(s cluster.Snapshot, lastAway, now time.Time) (cluster.Snapshot, Doubts, time.Time) {
	open := !lastAway.IsZero() && now.Before(lastAway.Add(doubtWindow))
	if !open && d.Held() == 0 {
		return s, Doubts{last: s}, time.Time{}
	}
	next := Doubts{endpoints: map[endpointKey]doubt{}, nodes: map[string]doubt{}}
	was := readyIn(d.last)
	s.Services = d.holdEndpoints(s.Services, was, &next, open, now)
	s.Nodes = d.holdNodes(s.Nodes, was, &next, open, now)
	next.last = s
	return s, next, next.earliest()
}

// was is what was ready in a snapshot.
type was struct {
	endpoints map[endpointKey]bool
	nodes     map[string]bool
}

func readyIn(s cluster.Snapshot) was {
	w := was{map[endpointKey]bool{}, map[string]bool{}}
	for _, svc := range s.Services {
		for _, e := range svc.Endpoints {
			w.endpoints[endpointKey{svc.Key(), e.Addr, e.Node}] = e.Ready
		}
	}
	for _, n := range s.Nodes {
		w.nodes[n.Name] = n.Ready
	}
	return w
}

// holdEndpoints makes a copy in which doubted endpoints are ready.
func (d Doubts) holdEndpoints(services []cluster.Service, was was, next *Doubts, open bool, now time.Time) []cluster.Service {
	struck := struckNodes(services, was)
	services = slices.Clone(services)
	for i, svc := range services {
		endpoints := slices.Clone(svc.Endpoints)
		for j, e := range endpoints {
			k := endpointKey{svc.Key(), e.Addr, e.Node}
			x, doubted := d.endpoints[k]
			if !doubted && open && was.endpoints[k] {
				x, doubted = doubt{since: now}, true
			}
			x.long = x.long || struck[e.Node]
			if doubted && lost(e) && now.Before(x.until()) {
				next.endpoints[k] = x
				endpoints[j].Ready, endpoints[j].Serving = true, true
			}
		}
		services[i].Endpoints = endpoints
	}
	return services
}

// holdNodes does the same for nodes, whose own loss is always the node
// controller's word.
func (d Doubts) holdNodes(nodes []cluster.Node, was was, next *Doubts, open bool, now time.Time) []cluster.Node {
	nodes = slices.Clone(nodes)
	for i, n := range nodes {
		x, doubted := d.nodes[n.Name]
		if !doubted && open && was.nodes[n.Name] {
			x, doubted = doubt{since: now, long: true}, true
		}
		if doubted && !n.Ready && now.Before(x.until()) {
			next.nodes[n.Name] = x
			nodes[i].Ready = true
		}
	}
	return nodes
}

// struckNodes are those of which every endpoint that was ready, and does not
// terminate, has lost its readiness.
func struckNodes(services []cluster.Service, was was) map[string]bool {
	all, spared := map[string]bool{}, map[string]bool{}
	for _, svc := range services {
		for _, e := range svc.Endpoints {
			switch {
			case !was.endpoints[endpointKey{svc.Key(), e.Addr, e.Node}]:
			case lost(e):
				all[e.Node] = true
			case e.Ready:
				spared[e.Node] = true
			}
		}
	}
	for node := range spared {
		delete(all, node)
	}
	return all
}

func lost(e cluster.Endpoint) bool { return !e.Ready && !e.Terminating }

func (d Doubts) earliest() time.Time {
	var first time.Time
	for _, times := range []time.Time{earliest(d.endpoints), earliest(d.nodes)} {
		if !times.IsZero() && (first.IsZero() || times.Before(first)) {
			first = times
		}
	}
	return first
}

func earliest[K comparable](m map[K]doubt) time.Time {
	var first time.Time
	for _, x := range m {
		t := x.until()
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first
}
