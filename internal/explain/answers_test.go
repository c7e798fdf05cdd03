package explain_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/explain"
)

func TestAnswersAboutSessions(t *testing.T) {
	const gone = "the peer closed the connection"
	up := func(name string) explain.Peer {
		return explain.Peer{Name: name, State: "Established", LastError: "of old"}
	}
	with := func(node string, peers ...explain.Peer) explain.Answer {
		return explain.Answer{Node: node, State: explain.State{Peers: peers}}
	}
	answers := []explain.Answer{
		{Node: "n1", Unknown: "the speaker does not run: kubectl describe pod", Pod: "a"},
		{Node: "n2", Unknown: "the speaker does not run: kubectl describe pod", Pod: "b"},
		with("n3", up("tor-a"), up("tor-b")),
		with("n4", up("tor-a"), explain.Peer{Name: "tor-b", State: "Active", LastError: gone}),
		with("n5", up("tor-a"), explain.Peer{Name: "tor-b", State: "Active", LastError: gone}),
		with("n6", explain.Peer{Name: "tor-a", State: "Idle"}),
		with("n7", explain.Peer{Name: "tor-a", State: "Established", LastError: "of old", Withheld: "no next hop"}),
		with("n8"),
		{Node: "n9", State: explain.State{ConfigError: "pools[0]: no name"}},
		with("n10", up("tor-a")),
	}
	const want = `
BGP sessions, as the nodes' speakers say:
  established: n3, n10
  tor-a: Established: n4, n5
  tor-a: Established: n7: no next hop
  tor-b: Active: n4, n5: the peer closed the connection
  tor-a: Idle: n6
  none: n8: the speaker has none yet
  none: n9: pools[0]: no name
  not known: n1, n2: the speaker does not run: kubectl describe pod a b
`
	var b strings.Builder
	explain.Sessions(&b, answers)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func rescuing(node string, on bool, why string) explain.Answer {
	return explain.Answer{Node: node, State: explain.State{Rescue: &explain.Rescuing{On: on, Why: why}}}
}

func TestAnswersAboutFlowRescue(t *testing.T) {
	answers := []explain.Answer{
		{Node: "n1", Unknown: "no speaker is there"},
		rescuing("n2", true, "flow rescue is off on node n4"),
		rescuing("n3", true, "flow rescue is off on node n4"),
		rescuing("n4", false, "not permitted"),
		rescuing("n5", true, ""),
		rescuing("n6", false, "one\nand another"),
		{Node: "n7"},
	}
	const want = `
flow rescue, as the nodes' speakers say:
  on: n5
  on, but not whole: n2, n3: flow rescue is off on node n4
  off: n4: not permitted
  off: n6: one; and another
  not known: n1: no speaker is there
  not known: n7: /state of the speaker does not tell: its version has no flow rescue
`
	var b strings.Builder
	explain.Rescue(&b, answers)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestALargeClusterOfOneMindIsOneLine(t *testing.T) {
	var answers []explain.Answer
	for i := range 100 {
		answers = append(answers, rescuing(fmt.Sprintf("n%d", i), true, ""))
	}
	var b strings.Builder
	explain.Rescue(&b, answers)
	if n := strings.Count(b.String(), "\n"); n != 3 { // an empty one and the heading before it
		t.Errorf("%d lines:\n%s", n, b.String())
	}
}
