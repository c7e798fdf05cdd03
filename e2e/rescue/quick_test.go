package rescue

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// With the default of minutes, weights follow the pods within 10 s where flows are
// rescued, and only there: the same Service with a UDP port waits.
func TestWeightsFollowWhereFlowsAreRescued(t *testing.T) {
	begin(t)
	ctx := t.Context()
	_, own, _ := strings.Cut(config, "weights: ")
	own, _, _ = strings.Cut(own, "\n")
	must(t, herald.Configure(ctx, strings.Replace(config, own, "{settleTime: 1s}", 1)))
	must(t, herald.RunPods(ctx, "quick", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	addrs := map[string]netip.Addr{}
	for name, protocol := range map[string]string{"quick-tcp": "TCP", "quick-both": ""} {
		must(t, herald.Create(ctx, stage.Service{Name: name, App: "quick", Protocol: protocol, SingleStack: true}))
		got, err := herald.WaitAddrs(ctx, name, 1)
		must(t, err)
		addrs[name] = got[0]
		must(t, herald.WaitWeights(ctx, 20*time.Second, got[0], map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	}
	time.Sleep(3 * time.Second)
	must(t, herald.RunPod(ctx, lab.PodSpec{Name: "quick-n1-1", Node: "n1", Labels: map[string]string{"app": "quick"}}))
	must(t, herald.WaitPods(ctx, time.Minute, "quick-n1-1"))
	begun := time.Now()
	must(t, herald.WaitWeights(ctx, 15*time.Second, addrs["quick-tcp"], map[string]int{"n1": 2, "n2": 1, "n3": 1}))
	t.Logf("the weights followed after %.1f s", time.Since(begun).Seconds())
	if took := time.Since(begun); took > 11*time.Second {
		t.Errorf("after %s", took)
	}
	must(t, herald.WaitWeights(ctx, time.Second, addrs["quick-both"], map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	explainsOf(t, "quick-tcp", 10*time.Second, addrs["quick-tcp"].String()+" follows within 10 s: n1, n2, n3: ")
	explainsOf(t, "quick-both", 10*time.Second,
		addrs["quick-both"].String()+" follows as bgp.weights says: n1, n2, n3: port 80 of default/quick-both is UDP, whose flows are not rescued\n",
		"is announced with n1=1 n2=1 n3=1 until ", "then with n1=2 n2=1 n3=1\n")
}
