package explain_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/speaker/plan"
)

// answer is that of a node with a session, which has decided so about the address.
func answer(node string, d plan.Decision) explain.Answer {
	a := explain.Answer{Node: node}
	d.Service, d.Addr = "default/web", netip.MustParseAddr("198.51.100.0")
	a.State.Table.Decisions = []plan.Decision{{Service: "default/other", Addr: d.Addr, Reason: plan.NotAdvertised}, d}
	a.State.Peers = []explain.Peer{{Name: "tor-a", State: "Established"}, {Name: "tor-b", State: "Active"}}
	return a
}

func announces(node string, weight uint32) explain.Answer {
	return answer(node, plan.Decision{Announce: true, Weight: weight, Reason: plan.Announced})
}

func ends(a explain.Answer) explain.Answer {
	for i := range a.State.Peers {
		a.State.Peers[i].State = "Idle"
	}
	return a
}

// What a node says of itself wins over what it should do: n1 should announce with
// weight 1, n2 with 3, and n3 not at all.
func TestWhatNodesSayOfThemselvesWins(t *testing.T) {
	dead := explain.Answer{Node: "n2", Unknown: "the speaker does not answer within 3s"}
	quiet := func(node string, r plan.Reason, detail string) explain.Answer {
		return answer(node, plan.Decision{Reason: r, Detail: detail})
	}
	held := announces("n2", 3)
	held.State.Table.Routes = []explain.Route{{Prefix: netip.MustParsePrefix("198.51.100.0/32"), Weight: 2}}
	for name, tt := range map[string]struct {
		answers []explain.Answer
		want    string
	}{
		"all is well": {[]explain.Answer{announces("n1", 1), announces("n2", 3), quiet("n3", plan.NoReadyEndpointOnNode, "ready on n1, n2")}, `
  n1  announces  weight 1  25.0 % of the traffic
  n2  announces  weight 3  75.0 % of the traffic
  n3  silent     -         NoReadyEndpointOnNode: ready on n1, n2
`},
		"a node is cut off": {[]explain.Answer{announces("n1", 1), dead, quiet("n3", plan.NoReadyEndpointOnNode, "")}, `
  n1  announces  weight 1  100.0 % of the traffic
  n2  expected   weight 3  announces, 75.0 % of the traffic; not known: the speaker does not answer within 3s
  n3  silent     -         NoReadyEndpointOnNode
`},
		"sessions are down": {[]explain.Answer{announces("n1", 1), ends(announces("n2", 3)), quiet("n3", plan.NoReadyEndpointOnNode, "")}, `
  n1  announces  weight 1  100.0 % of the traffic
  n2  cannot     weight 3  announce it: no BGP session is up
  n3  silent     -         NoReadyEndpointOnNode
`},
		"kube-proxy is dead": {[]explain.Answer{quiet("n1", plan.NotForwarding, "kube-proxy does not answer"), announces("n2", 3), quiet("n3", plan.NoReadyEndpointOnNode, "")}, `
  n1  silent     -         NotForwarding: kube-proxy does not answer
  n2  announces  weight 3  100.0 % of the traffic
  n3  silent     -         NoReadyEndpointOnNode
`},
		"rules are of old, and nobody else can": {[]explain.Answer{quiet("n1", plan.NoReadyEndpointOnNode, ""), answer("n2", plan.Decision{Announce: true, Weight: 3, Reason: plan.RulesOutdated, Detail: "kube-proxy is dead"}), quiet("n3", plan.NoReadyEndpointOnNode, "")}, `
  n1  silent     -         NoReadyEndpointOnNode
  n2  announces  weight 3  100.0 % of the traffic; but RulesOutdated: kube-proxy is dead
  n3  silent     -         NoReadyEndpointOnNode
`},
		"a weight is held back": {[]explain.Answer{announces("n1", 1), held, quiet("n3", plan.NoReadyEndpointOnNode, "")}, `
  n1  announces  weight 1  33.3 % of the traffic
  n2  announces  weight 2  66.7 % of the traffic
  n3  silent     -         NoReadyEndpointOnNode
`},
		"a node drains": {[]explain.Answer{announces("n1", 1), answer("n2", plan.Decision{Announce: true, Draining: true, Weight: 3, Reason: plan.NodeDraining, Detail: "the taint"}), quiet("n3", plan.NoReadyEndpointOnNode, "")}, `
  n1  announces  weight 1  100.0 % of the traffic
  n2  drains     weight 3  NodeDraining: the taint
  n3  silent     -         NoReadyEndpointOnNode
`},
		"it has drained": {[]explain.Answer{announces("n1", 1), quiet("n2", plan.NodeDraining, "the taint"), quiet("n3", plan.NoReadyEndpointOnNode, "")}, `
  n1  announces  weight 1  100.0 % of the traffic
  n2  silent     -         NodeDraining: the taint
  n3  silent     -         NoReadyEndpointOnNode
`},
		"a speaker is late": {[]explain.Answer{announces("n1", 1), {Node: "n2"}, {Node: "n3", State: explain.State{ConfigError: "pools[0]: no name"}}}, `
  n1  announces  weight 1  100.0 % of the traffic
  n2  silent     -         its speaker does not know the address yet
  n3  silent     -         pools[0]: no name
`},
		"an owner at layer 2": {[]explain.Answer{quiet("n1", plan.NotOwner, "n3 owns it"), dead, answer("n3", plan.Decision{Claim: true, Reason: plan.Announced})}, `
  n1  silent    -         NotOwner: n3 owns it
  n2  expected  weight 3  announces, 100.0 % of the traffic; not known: the speaker does not answer within 3s
  n3  answers   -         all of the traffic: it owns the address at layer 2
`},
		"some were not asked": {[]explain.Answer{announces("n1", 1), announces("n2", 3)}, `
  n1  announces  weight 1  25.0 % of the traffic
  n2  announces  weight 3  75.0 % of the traffic
  n3  expected   -         silent, NoReadyEndpointOnNode: default/web-7d9f is terminating; ready on n1, n2; not known: it was not asked
`},
	} {
		t.Run(name, func(t *testing.T) {
			_, got, _ := strings.Cut(text(t, saved(), "default/web", tt.answers...), "tor-b (10.0.0.2)")
			var rows []string
			for line := range strings.Lines(got) {
				if line == "\n" || strings.HasPrefix(line, "  n") {
					rows = append(rows, line)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(rows, "")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
