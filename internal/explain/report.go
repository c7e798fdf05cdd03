package explain

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
)

// Report is a Status as data, as heraldctl status -o json prints it. Within one
// apiVersion fields come, but none goes or changes its meaning. Times are RFC 3339.
type Report struct {
	APIVersion    string    `json:"apiVersion"` // heraldlb.io/v1
	Kind          string    `json:"kind"`       // Status
	Time          time.Time `json:"time"`
	Configuration string    `json:"configuration"` // hash of the one in force; empty: none

	// A list that was not asked for is left out; one without elements is empty.
	Problems []Problem       `json:"problems,omitzero"`
	Pools    []PoolReport    `json:"pools,omitzero"`
	Nodes    []NodeReport    `json:"nodes,omitzero"`
	Sessions []SessionReport `json:"sessions,omitzero"`
	Services []ServiceReport `json:"services,omitzero"`
}

// Problem is what somebody should look at.
type Problem struct {
	Node    string `json:"node,omitempty"`    // where it is; empty: not on one
	Service string `json:"service,omitempty"` // namespace/name; empty: not of one
	Message string `json:"message"`           // one line: what is so, and what to do if that is known
}

func (p Problem) String() string {
	if where := cmp.Or(p.Node, p.Service); where != "" {
		return where + ": " + p.Message
	}
	return p.Message
}

// PoolReport is how full one family of a pool is.
type PoolReport struct {
	Name   string         `json:"name"`
	Family cluster.Family `json:"family"`
	InUse  uint64         `json:"inUse"`
	Free   uint64         `json:"free"` // what can still be handed out without being asked for
}

// NodeReport is what a node's speaker says of itself.
type NodeReport struct {
	Name          string `json:"name"`
	Answers       bool   `json:"answers"`       // false: nothing but Problems is known
	Configuration string `json:"configuration"` // hash
	SessionsUp    int    `json:"sessionsUp"`
	Sessions      int    `json:"sessions"`
	Routes        int    `json:"routes"` // announced, over all sessions
	Problems      int    `json:"problems"`
}

// SessionReport is a BGP session of a node.
type SessionReport struct {
	Node      string     `json:"node"`
	Peer      string     `json:"peer"`
	Address   netip.Addr `json:"address"` // empty: not known yet
	State     string     `json:"state"`   // RFC 4271 section 8.2.2
	Since     time.Time  `json:"since,omitzero"`
	BFD       string     `json:"bfd,omitempty"` // RFC 5880 section 6.2; empty: none
	Routes    int        `json:"routes"`        // of Services
	PodCIDRs  int        `json:"podCIDRs"`      // of the node's pods
	LastError string     `json:"lastError,omitempty"`
}

// ServiceReport is what the API says of a Service.
type ServiceReport struct {
	Namespace string       `json:"namespace"`
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
	Reason    string       `json:"reason"` // docs/reasons.md
}

// Report is all of it.
func (s *Status) Report() Report {
	r := Report{
		APIVersion: "heraldlb.io/v1", Kind: "Status", Time: s.now,
		Problems: append([]Problem{}, s.Problems()...), Pools: []PoolReport{}, Nodes: []NodeReport{}, Sessions: []SessionReport{}, Services: []ServiceReport{},
	}
	if s.accepted != nil {
		r.Configuration = s.hash
	}
	for _, u := range s.pools {
		r.Pools = append(r.Pools, PoolReport{u.Pool, u.Family, u.Assigned, u.Capacity - min(u.Assigned, u.Capacity)})
	}
	for _, a := range s.answers {
		r.Nodes = append(r.Nodes, s.node(a))
		for _, p := range a.State.Peers {
			r.Sessions = append(r.Sessions, SessionReport{a.Node, p.Name, p.Address, p.State, p.Since, p.BFD, p.Routes, p.PodCIDRs, strings.ReplaceAll(p.LastError, "\n", "; ")})
		}
	}
	for _, svc := range s.services {
		reason := svc.Condition.Reason
		if svc.Another() {
			reason = string(assign.ServedByAnother)
		}
		r.Services = append(r.Services, ServiceReport{svc.Namespace, svc.Name, append([]netip.Addr{}, svc.Ingress...), reason})
	}
	return r
}

func (s *Status) node(a Answer) NodeReport {
	n := NodeReport{Name: a.Node, Answers: a.Unknown == "", Problems: len(s.ofNode(a))}
	if !n.Answers {
		return n
	}
	n.Configuration, n.Sessions = a.State.ConfigHash, len(a.State.Peers)
	for _, p := range a.State.Peers {
		if p.State == "Established" {
			n.SessionsUp++
		}
		n.Routes += p.Routes
	}
	return n
}
