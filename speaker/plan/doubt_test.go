package plan_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/plan"
)

// A script is a list of "<seconds after the outage> <endpoints> -> <believed>";
// an endpoint is service@node and r(eady), l(ost), t(erminating); a node on its
// own says whether it is ready.
func TestDoubt(t *testing.T) {
	tests := []struct {
		desc   string
		script []string
	}{
		{"a node that loses all at once is not believed for 20 s", []string{
			"1 a@n1=r b@n1=r a@n2=r -> a@n1=r b@n1=r a@n2=r",
			"5 a@n1=l b@n1=l a@n2=r -> a@n1=r b@n1=r a@n2=r due 25",
			"24 a@n1=l b@n1=l a@n2=r -> a@n1=r b@n1=r a@n2=r due 25",
			"25 a@n1=l b@n1=l a@n2=r -> a@n1=l b@n1=l a@n2=r",
			"26 a@n1=l b@n1=l a@n2=r -> a@n1=l b@n1=l a@n2=r",
		}},
		{"and not either when it loses them one by one, and gets them back so", []string{
			"1 a@n1=r b@n1=r -> a@n1=r b@n1=r",
			"5 a@n1=l b@n1=r -> a@n1=r b@n1=r due 7",
			"6 a@n1=l b@n1=l -> a@n1=r b@n1=r due 25",
			"9 a@n1=l b@n1=r -> a@n1=r b@n1=r due 25",
			"10 a@n1=r b@n1=r -> a@n1=r b@n1=r",
		}},
		{"one pod among others of its node is believed after 2 s", []string{
			"1 a@n1=r b@n1=r -> a@n1=r b@n1=r", "5 a@n1=l b@n1=r -> a@n1=r b@n1=r due 7", "7 a@n1=l b@n1=r -> a@n1=l b@n1=r",
		}},
		{"a pod that terminates is believed at once", []string{
			"1 a@n1=r b@n1=r -> a@n1=r b@n1=r", "5 a@n1=t b@n1=r -> a@n1=t b@n1=r", "6 a@n1=t b@n1=t -> a@n1=t b@n1=t",
		}},
		{"so is one that terminates while it is doubted", []string{
			"1 a@n1=r -> a@n1=r", "5 a@n1=l -> a@n1=r due 25", "6 a@n1=t -> a@n1=t",
		}},
		{"an endpoint that was not ready before is not doubted", []string{
			"1 a@n1=l -> a@n1=l", "5 a@n1=l -> a@n1=l",
		}},
		{"a minute after the outage everything is believed", []string{
			"1 a@n1=r -> a@n1=r", "61 a@n1=l -> a@n1=l",
		}},
		{"a node's own readiness is doubted too", []string{
			"1 n1=r n2=r -> n1=r n2=r", "5 n1=l n2=r -> n1=r n2=r due 25", "25 n1=l n2=r -> n1=l n2=r",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.desc, func(t *testing.T) { runDoubts(t, tt.script, time.Unix(1000, 0)) })
	}
	t.Run("without an outage everything is believed", func(t *testing.T) {
		runDoubts(t, []string{"1 a@n1=r n1=r -> a@n1=r n1=r", "5 a@n1=l n1=l -> a@n1=l n1=l"}, time.Time{})
	})
}

func runDoubts(t *testing.T, script []string, lastAway time.Time) {
	outage := time.Unix(1000, 0)
	var d plan.Doubts
	for _, line := range script {
		left, want, _ := strings.Cut(line, " -> ")
		at, things, _ := strings.Cut(left, " ")
		seconds, err := time.ParseDuration(at + "s")
		if err != nil {
			t.Fatal(err)
		}
		snap := parseThings(things)
		before := fmt.Sprintf("%+v", snap)
		believed, next, due := d.Doubt(snap, lastAway, outage.Add(seconds))
		if after := fmt.Sprintf("%+v", snap); before != after {
			t.Fatal("Doubt changed its argument")
		}
		d = next
		got := printThings(believed)
		if !due.IsZero() {
			got += fmt.Sprintf(" due %d", int(due.Sub(outage).Seconds()))
		}
		if got != want {
			t.Errorf("at %s s: %s: got %s, want %s", at, things, got, want)
		}
	}
}

func parseThings(text string) cluster.Snapshot {
	var s cluster.Snapshot
	for i, f := range strings.Fields(text) {
		name, state, _ := strings.Cut(f, "=")
		svc, node, isEndpoint := strings.Cut(name, "@")
		if !isEndpoint {
			s.Nodes = append(s.Nodes, cluster.Node{Name: name, Ready: state == "r"})
			continue
		}
		s.Services = append(s.Services, cluster.Service{Namespace: "default", Name: svc, Endpoints: []cluster.Endpoint{
			{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Node: node, Ready: state == "r", Serving: state == "r", Terminating: state == "t"},
		}})
	}
	return s
}

func printThings(s cluster.Snapshot) string {
	var out []string
	state := func(ready, terminating bool) string {
		switch {
		case ready:
			return "r"
		case terminating:
			return "t"
		default:
			return "l"
		}
	}
	for _, svc := range s.Services {
		e := svc.Endpoints[0]
		out = append(out, svc.Name+"@"+e.Node+"="+state(e.Ready, e.Terminating))
	}
	for _, n := range s.Nodes {
		out = append(out, n.Name+"="+state(n.Ready, false))
	}
	return strings.Join(out, " ")
}

func TestDoubtLeavesAnUndoubtedSnapshotAsItIs(t *testing.T) {
	s := parseThings("a@n1=r n1=r")
	got, _, due := plan.Doubts{}.Doubt(s, time.Time{}, time.Unix(1, 0))
	if !reflect.DeepEqual(got, s) || !due.IsZero() {
		t.Errorf("got %+v, due %v", got, due)
	}
}

// The address of a pod that was ready is another pod's now, on another node. That
// one has lost nothing.
func TestAnAddressOnAnotherNodeIsNotDoubted(t *testing.T) {
	at := func(node string, ready bool) cluster.Snapshot {
		return cluster.Snapshot{Services: []cluster.Service{{Namespace: "default", Name: "web", Endpoints: []cluster.Endpoint{
			{Addr: netip.MustParseAddr("10.244.1.2"), Node: node, Ready: ready, Serving: ready},
		}}}}
	}
	outage := time.Unix(1000, 0)
	_, d, _ := plan.Doubts{}.Doubt(at("n1", true), outage, outage.Add(time.Second))
	believed, d, _ := d.Doubt(at("n2", false), outage, outage.Add(2*time.Second))
	if e := believed.Services[0].Endpoints[0]; e.Ready || d.Held() != 0 {
		t.Errorf("%+v is believed, %d held; want it not ready on n2", e, d.Held())
	}
}
