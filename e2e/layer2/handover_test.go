package layer2

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

var all = []string{"n1", "n2", "n3"}

// oneOwner creates Services with the pods of another until one node owns both
// addresses of one.
func oneOwner(t *testing.T, app string) []netip.Addr {
	t.Helper()
	for i := range 20 {
		name := fmt.Sprintf("%s-%d", app, i)
		must(t, herald.Create(t.Context(), stage.Service{Name: name, App: app}))
		addrs, err := herald.WaitAddrs(t.Context(), name, 2)
		must(t, err)
		if waitOwner(t, addrs[0], all...) == waitOwner(t, addrs[1], all...) {
			return addrs
		}
	}
	t.Fatal("of 20 Services none has both addresses on one node")
	return nil
}

// both is what clients of the two families of an address have seen.
type both struct{ v4, v6 figures }

func (b *both) add(v4, v6 time.Duration) { b.v4, b.v6 = append(b.v4, v4), append(b.v6, v6) }

func (b *both) say(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s, ms: IPv4 median %d of %v, IPv6 median %d of %v", what,
		b.v4.median().Milliseconds(), b.v4.millis(), b.v6.median().Milliseconds(), b.v6.millis())
}

// medianBelow judges by the median: a client that gets no CPU for a while sees an
// outage that was none.
func (b *both) medianBelow(t *testing.T, what string, limit time.Duration) {
	t.Helper()
	limit = stage.Bound(limit)
	b.say(t, what)
	for family, f := range map[string]figures{"IPv4": b.v4, "IPv6": b.v6} {
		if m := f.median(); m >= limit {
			t.Errorf("%s: %s: median %s, want less than %s", what, family, m, limit)
		}
	}
}

func (b *both) mostBelow(t *testing.T, what string, limit time.Duration) {
	t.Helper()
	b.say(t, what)
	for family, f := range map[string]figures{"IPv4": b.v4, "IPv6": b.v6} {
		if m := f.most(); m >= limit {
			t.Errorf("%s: %s: %s, want less than %s", what, family, m, limit)
		}
	}
}

// during has a client of each family while something happens, and for as long
// after it as the second argument says.
func (b *both) during(t *testing.T, place string, addrs []netip.Addr, after time.Duration, do func()) {
	t.Helper()
	v4, v6 := probe(t, place, addrs[0]), probe(t, place, addrs[1])
	time.Sleep(300 * time.Millisecond)
	do()
	time.Sleep(after)
	four, six := v4.end(t), v6.end(t)
	b.add(longest(four), longest(six))
}

// The owner of both addresses of a Service loses its power, and gets it back.
func TestTheOwnerLosesPower(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "power") })
	must(t, herald.RunPods(t.Context(), "power", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	addrs := oneOwner(t, "power")
	var lost, back both
	var unanswered figures
	for range stage.Rounds() {
		for _, a := range addrs {
			waitServed(t, a)
		}
		owner := waitOwner(t, addrs[0], all...)
		waitOwner(t, addrs[1], owner)
		other := without(owner)[0]
		before := speakerMetrics(t, other)
		lost.during(t, lab.LANClient, addrs, 1500*time.Millisecond, func() { must(t, herald.PowerOff(t.Context(), owner)) })
		must(t, herald.WaitMetric(t.Context(), 5*time.Second, other, stage.Is(2), "herald_members_alive"))
		must(t, herald.WaitMetric(t.Context(), 5*time.Second, other, stage.Is(before.Sum("herald_member_deaths_total")+1), "herald_member_deaths_total"))
		asking := newcomersFor(t, addrs...)
		back.during(t, lab.Router, addrs, 500*time.Millisecond, func() {
			must(t, herald.PowerOn(t.Context(), owner))
			must(t, herald.WaitPods(t.Context(), 60*time.Second, "power-n1-0", "power-n2-0", "power-n3-0"))
			for _, a := range addrs {
				waitOwner(t, a, owner)
			}
		})
		must(t, herald.WaitMetric(t.Context(), 5*time.Second, other, stage.Is(3), "herald_members_alive"))
		unanswered = append(unanswered, asking.end(t))
	}
	lost.medianBelow(t, "outage after the owner lost its power", time.Second)
	back.medianBelow(t, "outage when it came back", 50*time.Millisecond)
	back.mostBelow(t, "longest outage when it came back", 300*time.Millisecond)
	unanswered.newcomers(t)
}

// A client that has not cached the neighbour asks from the moment in which the
// owner's speaker was killed.
func TestASpeakerIsKilled(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "killed") })
	must(t, herald.RunPods(t.Context(), "killed", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	addrs := oneOwner(t, "killed")
	var took figures
	for range stage.Rounds() {
		owner := waitOwner(t, addrs[0], all...)
		waitOwner(t, addrs[1], owner)
		asking := newcomersFor(t, addrs...)
		must(t, herald.KillPod(stagetest.SpeakerOn(t, herald, owner)))
		for _, a := range addrs {
			waitOwner(t, a, without(owner)...)
		}
		for _, a := range addrs {
			waitOwner(t, a, owner) // again: it was started anew
		}
		took = append(took, asking.end(t))
	}
	t.Logf("longest time without an answer, both families, ms: median %d of %v", took.median().Milliseconds(), took.millis())
	if m, limit := took.median(), stage.Bound(time.Second); m >= limit {
		t.Errorf("nobody answered for a median of %s, want less than %s", m, limit)
	}
}

func TestASpeakerStopsGracefully(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "graceful") })
	must(t, herald.RunPods(t.Context(), "graceful", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	addrs := oneOwner(t, "graceful")
	var outages both
	var unanswered figures
	for range stage.Rounds() {
		owner := waitOwner(t, addrs[0], all...)
		waitOwner(t, addrs[1], owner)
		speaker := stagetest.SpeakerOn(t, herald, owner)
		asking := newcomersFor(t, addrs...)
		outages.during(t, lab.Router, addrs, time.Second, func() {
			must(t, herald.RemovePod(t.Context(), speaker))
			waitSpeaker(t, owner, speaker)
			for _, a := range addrs {
				waitOwner(t, a, owner)
			}
		})
		unanswered = append(unanswered, asking.end(t))
	}
	outages.medianBelow(t, "outage while the owner's speaker was replaced", 50*time.Millisecond)
	unanswered.newcomers(t)
}

// The pods of a drained node serve on while they end; another node takes over
// before.
func TestTheOwnerIsDrained(t *testing.T) {
	begin(t)
	rows := []struct {
		desc string
		do   func(owner string) error
	}{
		{"its pods are deleted", func(owner string) error {
			for _, i := range []string{"0", "1"} {
				if err := herald.RemovePod(t.Context(), "drain-"+owner+"-"+i); err != nil {
					return err
				}
			}
			return nil
		}},
		{"by kubectl drain", func(owner string) error {
			_, err := herald.Kubectl(t.Context(), "drain", owner, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=60s")
			return err
		}},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			t.Cleanup(func() { tidy(t, "drain") })
			runLingering(t, "drain", 2)
			addrs := oneOwner(t, "drain")
			owner := waitOwner(t, addrs[0], all...)
			t.Cleanup(func() { _, _ = herald.Kubectl(context.Background(), "uncordon", owner) })
			asking := newcomersFor(t, addrs...)
			var outages both
			outages.during(t, lab.Router, addrs, time.Second, func() {
				must(t, r.do(owner))
				for _, a := range addrs {
					waitOwner(t, a, without(owner)...)
				}
			})
			outages.mostBelow(t, "outage", 50*time.Millisecond)
			figures{asking.end(t)}.newcomers(t)
		})
	}
}

// runLingering runs pods on each node that serve for 8 s after they were told to
// end: longer than an eviction of several pods, one after the other, may take.
func runLingering(t *testing.T, app string, perNode int) {
	t.Helper()
	var names []string
	for _, node := range all {
		for i := range perNode {
			name := fmt.Sprintf("%s-%s-%d", app, node, i)
			must(t, herald.RunPod(t.Context(), lab.PodSpec{Name: name, Node: node, Labels: map[string]string{"app": app}, Grace: 8}))
			names = append(names, name)
		}
	}
	must(t, herald.WaitPods(t.Context(), 60*time.Second, names...))
}

func without(node string) (out []string) {
	for _, n := range all {
		if n != node {
			out = append(out, n)
		}
	}
	return out
}

// waitSpeaker waits until a node has another speaker than the one named, and it
// is ready.
func waitSpeaker(t *testing.T, node, before string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 30*time.Second, func() error {
		pods, err := herald.Pods(t.Context())
		if err != nil {
			return err
		}
		for _, p := range pods {
			name := p.Namespace + "/" + p.Name
			if p.Node == node && strings.HasPrefix(p.Name, "herald-speaker") && p.Ready && name != before {
				return nil
			}
		}
		return fmt.Errorf("%s has no new speaker that is ready", node)
	}))
}

// tidy removes the Services and the pods of an app, so that a later test may use
// its name.
func speakerMetrics(t *testing.T, node string) stage.Metrics {
	t.Helper()
	m, err := herald.SpeakerMetrics(t.Context(), node)
	must(t, err)
	return m
}

func tidy(t *testing.T, app string) {
	ctx := context.Background()
	services, err := herald.Statuses(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, s := range services {
		if strings.HasPrefix(s.Metadata.Name, app+"-") {
			if err := herald.Delete(ctx, s.Metadata.Name); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := herald.Kubectl(ctx, "delete", "pods", "-l", "app="+app, "--grace-period=1"); err != nil {
		t.Error(err)
	}
}
