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

var withoutN2 = map[string]int{"n1": 1, "n3": 1}

// A node that drains tells the router first, and goes when its share has moved.
func TestANodeIsDrained(t *testing.T) {
	begin(t)
	ctx := t.Context()
	a := serve(t, "drain", on("n1", "n2", "n3"), equal)[0]
	for _, tt := range []struct{ desc, drain, undrain string }{
		{"by an annotation", "annotate node n2 heraldlb.io/drain=true", "annotate node n2 heraldlb.io/drain-"},
		{"by a taint", "taint node n2 heraldlb.io/drain:NoSchedule", "taint node n2 heraldlb.io/drain:NoSchedule-"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			kubectl := func(args string) {
				t.Helper()
				_, err := herald.Kubectl(ctx, strings.Fields(args)...)
				must(t, err)
			}
			t.Cleanup(func() { _, _ = herald.Kubectl(context.Background(), strings.Fields(tt.undrain)...) })
			var gshut string
			got := during(t, a, 12*time.Second, func() {
				kubectl(tt.drain)
				must(t, stage.Wait(ctx, 5*time.Second, func() (err error) {
					gshut, err = herald.Vtysh(ctx, "show bgp ipv4 unicast "+a.String())
					if err == nil && !strings.Contains(gshut, "graceful-shutdown") {
						err = fmt.Errorf("no path has the community graceful-shutdown:\n%s", gshut)
					}
					return err
				}))
				must(t, herald.WaitWeights(ctx, 10*time.Second, a, withoutN2))
			})
			stagetest.NewServed(t, got)
			must(t, stage.Wait(ctx, 15*time.Second, func() error {
				out, err := herald.Vtysh(ctx, "show bgp ipv4 unicast "+a.String())
				if err == nil && strings.Contains(out, "from 10.77.0.12 ") {
					err = fmt.Errorf("n2 still announces the address:\n%s", out)
				}
				return err
			}))
			back := during(t, a, 6*time.Second, func() { kubectl(tt.undrain) })
			must(t, herald.WaitWeights(ctx, 10*time.Second, a, equal))
			stagetest.NewServed(t, back)
		})
	}
}

// The last pod on a node serves while it ends, and so its route drains.
func TestTheLastPodOfANodeEnds(t *testing.T) {
	begin(t)
	ctx := t.Context()
	for _, n := range []string{"n1", "n2", "n3"} {
		must(t, herald.RunPod(ctx, lab.PodSpec{Name: "ends-" + n + "-0", Node: n, Labels: map[string]string{"app": "ends"}, Grace: 9}))
	}
	must(t, herald.WaitPods(ctx, 60*time.Second, "ends-n1-0", "ends-n2-0", "ends-n3-0"))
	must(t, herald.Create(ctx, stage.Service{Name: "ends"}))
	addrs, err := herald.WaitAddrs(ctx, "ends", 2)
	must(t, err)
	a := addrs[0]
	waitServed(t, a, equal)
	got := during(t, a, 14*time.Second, func() {
		must(t, herald.RemovePod(ctx, "ends-n2-0"))
		must(t, herald.WaitWeights(ctx, 5*time.Second, a, withoutN2))
	})
	stagetest.NewServed(t, got)
}

// A node that is back announces nothing before its kube-proxy has its rules.
func TestANodeIsBackAfterAPowerCut(t *testing.T) {
	begin(t)
	ctx := t.Context()
	a := serve(t, "poweron", on("n1", "n2", "n3"), equal)[0]
	must(t, herald.PowerOff(ctx, "n2"))
	must(t, herald.WaitWeights(ctx, 30*time.Second, a, withoutN2))
	got := during(t, a, 40*time.Second, func() {
		must(t, herald.PowerOn(ctx, "n2"))
		must(t, herald.WaitPods(ctx, 60*time.Second, "poweron-n2-0"))
		must(t, herald.WaitWeights(ctx, 30*time.Second, a, equal))
	})
	stagetest.NewServed(t, got)
	must(t, herald.WaitReplicas(ctx))
}

// Without the DaemonSet no speaker comes back: the routes go at once, and are not
// kept for a restart.
func TestHeraldIsRemoved(t *testing.T) {
	begin(t)
	ctx := t.Context()
	a := serve(t, "removed", on("n1", "n2", "n3"), equal)[0]
	t.Cleanup(func() {
		ctx := context.Background()
		if _, err := herald.Kubectl(ctx, "apply", "-k", "../../manifests/base"); err != nil {
			t.Error(err)
		}
		if err := herald.WaitReplicas(ctx); err != nil {
			t.Error(err)
		}
	})
	_, err := herald.Kubectl(ctx, "-n", "herald-system", "delete", "daemonset", "herald-speaker", "--wait=false")
	must(t, err)
	begun := time.Now()
	must(t, stage.Wait(ctx, 20*time.Second, func() error {
		hops, err := herald.RouterRoute(ctx, stage.Host(a))
		if err == nil && len(hops) > 0 {
			err = fmt.Errorf("the router still has %v", hops)
		}
		return err
	}))
	t.Logf("the routes were gone %.1f s after the DaemonSet was deleted; drainTime is 5 s", time.Since(begun).Seconds())
	if took := time.Since(begun); took < 4*time.Second || took > 15*time.Second {
		t.Errorf("the routes were gone after %s, want the drainTime of 5 s and little more", took)
	}
}
