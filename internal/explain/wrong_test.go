package explain_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/speaker/plan"
)

// web runs on n1 and n2, and n3 has no pod of it.
func web() explain.Saved {
	s := loadBalancer("web", cluster.Condition{Allocated: true, Reason: "Allocated"}, "198.51.100.1")
	s.LocalOnly = true
	for i, node := range []string{"n1", "n2"} {
		s.Endpoints = append(s.Endpoints, cluster.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 244, byte(i), 2}), Node: node, Ready: true, Serving: true})
	}
	return explain.Saved{Config: inForce, Cluster: cluster.Snapshot{
		Nodes:    []cluster.Node{{Name: "n1", Ready: true}, {Name: "n2", Ready: true}, {Name: "n3", Ready: true}},
		Services: []cluster.Service{s},
	}}
}

func decides(t *testing.T, node string, d plan.Decision) explain.Answer {
	a := well(t, node)
	d.Service, d.Addr = "default/web", netip.MustParseAddr("198.51.100.1")
	a.State.Table.Decisions = []plan.Decision{d}
	return a
}

func TestWrong(t *testing.T) {
	announces := plan.Decision{Announce: true, Weight: 1, Reason: plan.Announced}
	silent := plan.Decision{Reason: plan.NoReadyEndpointOnNode}
	for _, tt := range []struct {
		desc   string
		change func(*explain.Saved, []explain.Answer)
		want   []string
	}{
		{"all is well", func(*explain.Saved, []explain.Answer) {}, nil},
		{"a node without pods is ill", func(_ *explain.Saved, a []explain.Answer) { a[2] = explain.Answer{Node: "n3", Unknown: "dead"} }, nil},
		{"a dead node", func(_ *explain.Saved, a []explain.Answer) {
			a[1] = explain.Answer{Node: "n2", Unknown: "the speaker does not answer within 3s"}
		}, []string{"n2: 198.51.100.1: not known: the speaker does not answer within 3s"}},
		{"sessions that are down", func(_ *explain.Saved, a []explain.Answer) {
			for i := range a {
				a[i].State.Peers[0].State, a[i].State.Peers[0].LastError = "Active", "refused"
			}
		}, []string{
			"n1: 198.51.100.1: no BGP session is up", "n2: 198.51.100.1: no BGP session is up", "default/web: 198.51.100.1: no node announces it",
			"n1: session with tor (10.0.0.1): Active for 3h: refused", "n2: session with tor (10.0.0.1): Active for 3h: refused",
		}},
		{"a kube-proxy that is dead", func(_ *explain.Saved, a []explain.Answer) {
			a[0] = decides(t, "n1", plan.Decision{Reason: plan.NotForwarding, Detail: "kube-proxy does not answer"})
		}, []string{"n1: 198.51.100.1: it should announce it, and is silent: NotForwarding: kube-proxy does not answer"}},
		{"a drain", func(_ *explain.Saved, a []explain.Answer) {
			a[0] = decides(t, "n1", plan.Decision{Reason: plan.NodeDraining})
			a[0].State.Drains = "the node has the taint heraldlb.io/drain"
		}, nil},
		{"routes that a session lacks", func(_ *explain.Saved, a []explain.Answer) {
			a[1].State.Peers[0].Withheld = "no next hop"
		}, []string{"n2: session with tor (10.0.0.1): no next hop"}},
		{"no pod is ready", func(s *explain.Saved, a []explain.Answer) {
			for i := range 2 {
				s.Cluster.Services[0].Endpoints[i].Ready = false
				a[i] = decides(t, a[i].Node, plan.Decision{Reason: plan.NoReadyEndpoint})
			}
		}, []string{"default/web: 198.51.100.1: no node announces it"}},
		{"a full pool", func(s *explain.Saved, _ []explain.Answer) {
			s.Cluster.Services[0].Ingress = nil
			s.Cluster.Services[0].Condition = cluster.Condition{Reason: "PoolExhausted", Message: "no IPv4 address is free"}
		}, []string{"default/web: PoolExhausted: no IPv4 address is free"}},
	} {
		saved, answers := web(), []explain.Answer{decides(t, "n1", announces), decides(t, "n2", announces), decides(t, "n3", silent)}
		tt.change(&saved, answers)
		got, err := explain.Wrong(saved, "default/web", answers, statusNow)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, p := range got {
			lines = append(lines, p.String())
		}
		if x, y := strings.Join(lines, "\n"), strings.Join(tt.want, "\n"); x != y {
			t.Errorf("%s:\n%s\nwant\n%s", tt.desc, x, y)
		}
	}
}

// Nobody was asked: what the cluster tells is all that can be wrong.
func TestWrongInASnapshot(t *testing.T) {
	if got, err := explain.Wrong(web(), "default/web", nil, statusNow); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}
