package lab

import (
	"context"
	"fmt"
	"sort"
)

// A NodeStatus is what driver and API know of a node.
type NodeStatus struct {
	Node
	Link  string // up, silent, carrier or off
	Ready string // yes, no or ? if the API does not answer
}

// A Status is a lab at one moment.
type Status struct {
	Name       string
	Dir        string
	Kubeconfig string
	Complete   bool // up came to its end
	Nodes      []NodeStatus
	Pods       []Pod
	Dead       []string // daemons that should run and do not
	Problem    error    // why the API did not say more
}

// Status asks everything once.
func (l *Lab) Status(ctx context.Context) Status {
	s := l.state()
	st := Status{Name: l.opts.Name, Dir: l.dir, Kubeconfig: l.Kubeconfig(), Complete: s.Ready}
	ready, err := l.readyNodes(ctx)
	if err == nil {
		st.Pods, err = l.Pods(ctx)
	}
	st.Problem = err
	for _, n := range l.Nodes() {
		st.Nodes = append(st.Nodes, NodeStatus{Node: n, Link: s.link(n.Name), Ready: yesNo(ready, n.Name)})
	}
	for name, p := range s.Procs {
		if !p.alive() && !s.excused(name) {
			st.Dead = append(st.Dead, name)
		}
	}
	sort.Strings(st.Dead)
	return st
}

func (s state) link(node string) string {
	switch {
	case s.Off[node]:
		return "off"
	case s.Cut[node] != "":
		return s.Cut[node]
	}
	return "up"
}

// excused are the programs of a node without power.
func (s state) excused(name string) bool {
	for node := range s.Off {
		if name == "nodelet-"+node || name == "machine-"+node || name == "kube-proxy-"+node {
			return true
		}
	}
	return false
}

func yesNo(ready map[string]bool, name string) string {
	yes, known := ready[name]
	switch {
	case !known:
		return "?"
	case yes:
		return "yes"
	}
	return "no"
}

// Problems returns what is not as it should be, for people.
func (s Status) Problems() []string {
	var found []string
	if !s.Complete {
		found = append(found, "up did not come to its end")
	}
	for _, d := range s.Dead {
		found = append(found, fmt.Sprintf("%s does not run; see %s/log/%s.log", d, s.Dir, d))
	}
	if s.Problem != nil {
		found = append(found, "the API server does not answer: "+s.Problem.Error())
	}
	return found
}
