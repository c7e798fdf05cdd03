package e2e

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// The reason why Herald exists: pods on unevenly filled nodes get equal shares,
// and see the client's own address.
func TestEachPodGetsItsEqualShare(t *testing.T) {
	begin(t)
	ctx := t.Context()
	pods := map[string]int{"n1": 1, "n2": 3, "n3": 4}
	must(t, herald.RunPods(ctx, "web", pods))
	must(t, herald.Create(ctx, stage.Service{Name: "web"}))
	addrs, err := herald.WaitAddrs(ctx, "web", 2)
	must(t, err)
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, 15*time.Second, a, map[string]int{"n1": 1, "n2": 3, "n3": 4}))
	}
	for _, a := range addrs {
		for _, proto := range []string{"tcp", "udp"} {
			t.Run(fmt.Sprintf("%s to %s", proto, a), func(t *testing.T) { checkShares(t, a, proto, 8) })
		}
	}
}

func checkShares(t *testing.T, a netip.Addr, proto string, pods int) {
	const n = 20_000
	waitAnswer(t, a, proto)
	var got flows.Shares
	must(t, herald.Run(t.Context(), lab.Ext, &got, "flows", "shares", "--json", "--proto", proto,
		"--first-port", "10000", "--n", strconv.Itoa(n), "--target", stage.Target(a)))
	if got.Failed != 0 {
		t.Errorf("%d of %d flows failed: %v", got.Failed, n, got.Errors)
	}
	if len(got.Pods) != pods {
		t.Fatalf("%d pods answered, want %d: %+v", len(got.Pods), pods, got.Pods)
	}
	ideal := 1 / float64(pods)
	for _, p := range got.Pods {
		t.Logf("%s on %s: %.2f %% (ideal %.2f %%)", p.Pod, p.Node, 100*p.Share, 100*ideal)
		if math.Abs(p.Share-ideal) > ideal/10 {
			t.Errorf("%s on %s got %.2f %% of the flows, want %.2f %% within a tenth", p.Pod, p.Node, 100*p.Share, 100*ideal)
		}
	}
	client := lab.Ext4
	if a.Is6() {
		client = lab.Ext6
	}
	if len(got.Clients) != 1 || got.Clients[client] == 0 {
		t.Errorf("the pods saw clients %v, want only %s", got.Clients, client)
	}
}

var waitPort atomic.Int32

// waitAnswer waits until kube-proxy has its rules for an address on all nodes
// that are announced: an answer may come before the last of them. No source port
// is used twice, and none that checkShares uses: a node that sees a flow before
// it has the rules remembers the flow without them, for two minutes after its
// last packet.
func waitAnswer(t *testing.T, a netip.Addr, proto string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 15*time.Second, func() error {
		var got flows.Shares
		port := 32000 + 200*int(waitPort.Add(1)%160)
		err := herald.Run(t.Context(), lab.Ext, &got, "flows", "shares", "--json", "--proto", proto,
			"--first-port", strconv.Itoa(port), "--n", "200", "--timeout", "200ms", "--target", stage.Target(a))
		if err == nil && got.Failed > 0 {
			err = fmt.Errorf("%d of 200 flows failed: %v", got.Failed, got.Errors)
		}
		return err
	}))
}

func TestWeightsFollowThePods(t *testing.T) {
	begin(t)
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "grow", map[string]int{"n1": 1, "n2": 1}))
	must(t, herald.Create(ctx, stage.Service{Name: "grow"}))
	addrs, err := herald.WaitAddrs(ctx, "grow", 2)
	must(t, err)
	want := func(atMost time.Duration, w map[string]int) {
		t.Helper()
		for _, a := range addrs {
			must(t, herald.WaitWeights(ctx, atMost, a, w))
		}
	}
	want(10*time.Second, map[string]int{"n1": 50, "n2": 50})
	time.Sleep(4 * time.Second) // past settleTime: from here on, changes are damped

	begun := time.Now()
	must(t, herald.RunPod(ctx, lab.PodSpec{Name: "grow-n1-1", Node: "n1", Labels: map[string]string{"app": "grow"}}))
	must(t, herald.WaitPods(ctx, 20*time.Second, "grow-n1-1"))
	want(15*time.Second, map[string]int{"n1": 66, "n2": 33})
	t.Logf("a second pod on n1: weight followed %.1f s after its creation", time.Since(begun).Seconds())

	// A pod that is not ready any more counts no more; but so soon after the last
	// change, damping holds the next one back for interval, 4 s, at the least.
	must(t, herald.SetReady(ctx, "grow-n1-1", false))
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		want(time.Millisecond, map[string]int{"n1": 66, "n2": 33})
	}
	want(20*time.Second, map[string]int{"n1": 50, "n2": 50})
	must(t, herald.SetReady(ctx, "grow-n1-1", true))
	want(20*time.Second, map[string]int{"n1": 66, "n2": 33})
	must(t, herald.RemovePod(ctx, "grow-n1-1"))
	want(20*time.Second, map[string]int{"n1": 50, "n2": 50})
}

// Whether its last pod fails or is deleted: the node's path goes within a second
// of the API showing it.
func TestTheLastEndpointWithdrawsTheNode(t *testing.T) {
	begin(t)
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "last", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	must(t, herald.Create(ctx, stage.Service{Name: "last"}))
	addrs, err := herald.WaitAddrs(ctx, "last", 2)
	must(t, err)
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, 15*time.Second, a, map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	}
	must(t, herald.SetReady(ctx, "last-n1-0", false))
	checkWithdrawn(t, "last", addrs, "n1")
	must(t, herald.RemovePod(ctx, "last-n2-0"))
	checkWithdrawn(t, "last", addrs, "n2")
	// While it terminates it still serves, and would be announced again as soon as
	// no endpoint is ready (KEP-1669).
	must(t, stage.Wait(ctx, 20*time.Second, func() error {
		_, all, err := endpointsOn(ctx, "last", "n2")
		if err == nil && all > 0 {
			err = fmt.Errorf("last still has %d endpoints on n2", all)
		}
		return err
	}))
	must(t, herald.SetReady(ctx, "last-n3-0", false))
	checkWithdrawn(t, "last", addrs, "n3")
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, time.Second, a, nil))
	}
	// The first endpoint is announced as fast.
	must(t, herald.SetReady(ctx, "last-n3-0", true))
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, 3*time.Second, a, map[string]int{"n3": 1}))
	}
}

// checkWithdrawn measures from the moment at which the API shows no ready
// endpoint on the node to that at which the router has no path to it.
func checkWithdrawn(t *testing.T, service string, addrs []netip.Addr, node string) {
	t.Helper()
	ctx := t.Context()
	must(t, stage.Wait(ctx, 20*time.Second, func() error {
		ready, _, err := endpointsOn(ctx, service, node)
		if err == nil && ready > 0 {
			err = fmt.Errorf("%s still has %d ready endpoints on %s", service, ready, node)
		}
		return err
	}))
	shown := time.Now()
	for _, a := range addrs {
		must(t, stage.Wait(ctx, 10*time.Second, func() error {
			w, err := herald.Weights(ctx, a)
			if _, still := w[node]; err == nil && still {
				err = fmt.Errorf("the router still has a path to %s by %s", a, node)
			}
			return err
		}))
	}
	took := time.Since(shown)
	t.Logf("%s: withdrawn %d ms after the API showed it", node, took.Milliseconds())
	if took > time.Second {
		t.Errorf("%s: withdrawn %s after the API showed it, want within 1 s", node, took)
	}
}

func endpointsOn(ctx context.Context, service, node string) (ready, all int, err error) {
	var list struct {
		Items []struct {
			Endpoints []struct {
				NodeName   string
				Conditions struct{ Ready bool }
			}
		}
	}
	err = herald.Get(ctx, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3D"+service, &list)
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			if e.NodeName != node {
				continue
			}
			all++
			if e.Conditions.Ready {
				ready++
			}
		}
	}
	return ready, all, err
}

// A Cluster Service is announced by every node with equal weight, also by those
// without a pod.
func TestClusterPolicyComesFromEveryNode(t *testing.T) {
	begin(t)
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "spread", map[string]int{"n2": 1}))
	must(t, herald.Create(ctx, stage.Service{Name: "spread", Cluster: true}))
	addrs, err := herald.WaitAddrs(ctx, "spread", 2)
	must(t, err)
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, 15*time.Second, a, map[string]int{"n1": 1, "n2": 1, "n3": 1}))
		waitAnswer(t, a, "tcp")
	}
}
