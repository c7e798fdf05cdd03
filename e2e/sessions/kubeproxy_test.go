package sessions

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// kube-proxy on n1 dies. As long as its rules are right nothing happens; when a pod
// in them goes, n1 leaves the address to the others, says so, and comes back with
// kube-proxy.
func TestANodeWhoseKubeProxyIsDeadServesNothingThatHasChanged(t *testing.T) {
	begin(t)
	ctx := t.Context()
	perNode := map[string]int{"n1": 1, "n2": 1, "n3": 1}
	changed := serve(t, "dead-a", perNode, equal)
	same := serve(t, "dead-b", perNode, equal)

	must(t, herald.KillProxy("n1"))
	restarted := false
	t.Cleanup(func() {
		if !restarted {
			_ = herald.StartProxy(context.Background(), "n1") // the other tests want it
		}
	})
	must(t, herald.WaitMetric(ctx, 20*time.Second, "n1", stage.Is(0), "herald_speaker_kube_proxy_up"))
	must(t, herald.WaitMetric(ctx, 5*time.Second, "n1", stage.Is(0), "herald_speaker_rules_outdated"))
	for _, a := range append(changed, same...) {
		must(t, herald.WaitWeights(ctx, time.Second, a, equal))
	}

	// Another pod first, so that n1 has a ready endpoint at all times.
	must(t, herald.RunPod(ctx, lab.PodSpec{Name: "dead-a-n1-1", Node: "n1", Labels: map[string]string{"app": "dead-a"}}))
	must(t, herald.WaitPods(ctx, time.Minute, "dead-a-n1-1"))
	must(t, herald.RemovePod(ctx, "dead-a-n1-0"))
	for _, a := range changed {
		must(t, herald.WaitWeights(ctx, 30*time.Second, a, on("n2", "n3")))
	}
	for _, a := range same {
		must(t, herald.WaitWeights(ctx, time.Second, a, equal))
	}
	must(t, herald.WaitMetric(ctx, 5*time.Second, "n1", stage.Is(2), "herald_speaker_rules_outdated"))
	must(t, herald.WaitMetric(ctx, 5*time.Second, "n1", stage.Is(2), "herald_speaker_decisions", `reason="RulesOutdated"`))
	must(t, stage.Wait(ctx, 10*time.Second, func() error {
		out, err := herald.Kubectl(ctx, "get", "events", "-o", "jsonpath={.items[?(@.reason=='RulesOutdated')].message}")
		if err == nil && !strings.Contains(out, "n1 does not serve "+changed[0].String()) {
			return fmt.Errorf("no Event tells of n1 and %s: %s", changed[0], out)
		}
		return err
	}))
	for command, says := range map[string][]string{
		"status":         {"\n  n1: kube-proxy does not answer any more\n", "\n  n1: kube-proxy: default/dead-a IPv4: "},
		"explain dead-a": {"  RulesOutdated: kube-proxy has not answered since ", "\nproblems: 2\n  n1: kube-proxy does not answer any more\n"},
	} {
		out, wrong, err := herald.Heraldctl(ctx, strings.Fields(command)...)
		must(t, err)
		for _, want := range says {
			if !wrong || !strings.Contains(out, want) {
				t.Errorf("%s: %q is missing, or its exit status is not 1:\n%s", command, want, out)
			}
		}
	}
	got := during(t, changed[0], 5*time.Second, func() {})
	stagetest.NothingLost(t, got)

	must(t, herald.StartProxy(ctx, "n1"))
	restarted = true
	for _, a := range changed {
		must(t, herald.WaitWeights(ctx, 20*time.Second, a, equal))
	}
	must(t, herald.WaitMetric(ctx, 5*time.Second, "n1", stage.Is(1), "herald_speaker_kube_proxy_up"))
}
