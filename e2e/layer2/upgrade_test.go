package layer2

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// onEachNode creates so many Services with the pods of another that each node owns an
// address of each family, whichever addresses they get: of 30, in all but one of 30,000
// runs.
func onEachNode(t *testing.T, app string) map[string][]netip.Addr {
	t.Helper()
	must(t, herald.RunPods(t.Context(), app, map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	addrs, err := herald.CreateMany(t.Context(), 30, stage.Service{Name: app, App: app})
	must(t, err)
	owners := openWire(t).waitOwners(t, addrs)
	out, have := map[string][]netip.Addr{}, map[string]bool{}
	for a, nodes := range owners {
		if kind := nodes[0] + " " + map[bool]string{true: "IPv4", false: "IPv6"}[a.Is4()]; !have[kind] {
			have[kind] = true
			out[nodes[0]] = append(out[nodes[0]], a)
		}
	}
	if len(have) != 2*len(all) {
		t.Fatalf("of 30 Services not every node owns an address of each family: %v", owners.count())
	}
	return out
}

// restarts knows when each node had no speaker that was ready.
type restarts struct {
	stop context.CancelFunc
	done sync.WaitGroup
	away map[string][2]time.Time // from, to
}

func watchRestarts(t *testing.T) *restarts {
	ctx, stop := context.WithCancel(t.Context())
	r := &restarts{stop: stop, away: map[string][2]time.Time{}}
	r.done.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
			if pods, err := herald.Pods(ctx); err == nil {
				r.note(pods, time.Now())
			}
		}
	})
	return r
}

func (r *restarts) note(pods []lab.Pod, now time.Time) {
	there := map[string]bool{}
	for _, p := range pods {
		if strings.HasPrefix(p.Name, "herald-speaker") && p.Ready && !p.Terminating {
			there[p.Node] = true
		}
	}
	for _, node := range all {
		if !there[node] {
			span := r.away[node]
			if span[0].IsZero() {
				span[0] = now
			}
			r.away[node] = [2]time.Time{span[0], now}
		}
	}
}

// end returns for each node when its speaker was away.
func (r *restarts) end() map[string][2]time.Time {
	r.stop()
	r.done.Wait()
	return r.away
}

// An upgrade of the speakers: each address has an outage of less than 100 ms, and
// none at all but while its own owner is restarted and takes it back.
func TestSpeakersAreUpgraded(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "upgrade") })
	owned := onEachNode(t, "upgrade")
	var probes []*probing
	var addrs []netip.Addr
	for _, mine := range owned {
		reach(t, lab.Router, mine)
		for _, a := range mine {
			probes, addrs = append(probes, probe(t, lab.Router, a)), append(addrs, a)
		}
	}
	asking, watching := newcomersFor(t, addrs...), watchRestarts(t)
	time.Sleep(500 * time.Millisecond)
	for _, verb := range []string{"restart", "status"} {
		_, err := herald.Kubectl(t.Context(), "-n", "herald-system", "rollout", verb, "daemonset/herald-speaker")
		must(t, err)
	}
	for node, mine := range owned {
		for _, a := range mine {
			waitOwner(t, a, node)
		}
	}
	away := watching.end()
	if len(away) != len(all) {
		t.Errorf("not every speaker was restarted: %v", away)
	}
	var outages figures
	sent, stray := 0, 0
	for i, p := range probes {
		got := p.end(t)
		outages, sent = append(outages, longest(got)), sent+got.Sent
		for _, o := range got.Outages {
			span := away[homeOf(owned, addrs[i])]
			// A speaker that is ready takes its addresses back some seconds later.
			if o.First.After(span[0].Add(-time.Second)) && o.Last.Before(span[1].Add(5*time.Second)) {
				continue
			}
			stray += o.Lost
			if o.Lost > 1 {
				t.Errorf("%s was lost at %s, but its owner was restarted from %s to %s", addrs[i], o.First, span[0], span[1])
			}
		}
	}
	// A machine that is short of CPU loses a connection now and then by itself.
	t.Logf("%d of %d connections lost while the address's own owner was not restarted", stray, sent)
	if stray*1000 > sent {
		t.Errorf("%d of %d connections lost while the address's own owner was not restarted, want none", stray, sent)
	}
	t.Logf("longest outage of each of %d addresses, ms: %v", len(addrs), outages.millis())
	if m := outages.most(); m >= 100*time.Millisecond {
		t.Errorf("an address was lost for %s, want less than 100 ms", m)
	}
	t.Logf("longest time without an answer to newcomers: %s", asking.end(t))
}

func homeOf(owned map[string][]netip.Addr, a netip.Addr) string {
	for node, mine := range owned {
		for _, m := range mine {
			if m == a {
				return node
			}
		}
	}
	return ""
}
