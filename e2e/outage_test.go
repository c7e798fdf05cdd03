package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// calm creates a Service with endpoints on all nodes and returns its addresses
// once they are answered everywhere.
func calm(t *testing.T, name string) []netip.Addr {
	t.Helper()
	ctx := t.Context()
	must(t, herald.RunPods(ctx, name, map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	must(t, herald.Create(ctx, stage.Service{Name: name}))
	addrs, err := herald.WaitAddrs(ctx, name, 2)
	must(t, err)
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, 15*time.Second, a, map[string]int{"n1": 1, "n2": 1, "n3": 1}))
		waitAnswer(t, a, "tcp")
	}
	return addrs
}

// undisturbed does something while the addresses of a Service are probed, and
// fails if an address changes or a route flaps. It returns the probes.
func undisturbed(t *testing.T, name string, addrs []netip.Addr, lasting time.Duration, do func()) flows.Probe {
	t.Helper()
	ctx := t.Context()
	monitor, err := herald.Monitor(ctx)
	must(t, err)
	defer monitor.Stop()
	probe := make(chan error, 1)
	var got flows.Probe
	go func() {
		probe <- herald.Run(ctx, lab.Ext, &got, "flows", "probe", "--interval", "20ms",
			"--duration", lasting.String(), "--target", netip.AddrPortFrom(addrs[0], 80).String())
	}()
	do()
	must(t, <-probe)
	t.Logf("%d probes, %d lost", got.Sent, got.Lost)
	must(t, monitor.Alive())
	for _, a := range addrs {
		if e := monitor.Events(a.String()); len(e) != 0 {
			t.Errorf("the route to %s changed: %+v", a, e)
		}
	}
	v, err := herald.Status(ctx, name)
	must(t, err)
	if fmt.Sprint(v.Addrs()) != fmt.Sprint(addrs) {
		t.Errorf("addresses %v became %v", addrs, v.Addrs())
	}
	return got
}

func TestAllocatorsDieUnnoticed(t *testing.T) {
	begin(t)
	ctx := t.Context()
	addrs := calm(t, "calm")
	probes := undisturbed(t, "calm", addrs, 12*time.Second, func() {
		pods, err := herald.HeraldPods(ctx, "allocator")
		must(t, err)
		if len(pods) < 2 {
			t.Fatalf("allocator pods %v, want 2", pods)
		}
		must(t, herald.KillPod(pods[0])) // one, then all
		time.Sleep(time.Second)
		for _, p := range pods {
			_ = herald.KillPod(p) // the first may still be down
		}
	})
	if probes.Lost > 0 || probes.Sent == 0 {
		t.Errorf("%d of %d probes lost: %+v", probes.Lost, probes.Sent, probes.Outages)
	}
	begun := time.Now()
	must(t, herald.Create(ctx, stage.Service{Name: "after-kill", SingleStack: true}))
	_, err := herald.WaitAddrsWithin(ctx, 30*time.Second, "after-kill", 1)
	must(t, err)
	t.Logf("a Service created after all allocators were killed had its address after %.1f s", time.Since(begun).Seconds())
	must(t, herald.Delete(ctx, "after-kill"))
}

// The API server is killed and stays away for 30 s: nothing moves, also not when
// it is back and the node controller has yet to hear of the nodes' heartbeats,
// and a Service that is created as soon as it is back is served within 5 s.
//
// The controllers and kube-proxy are restarted, since what is measured is
// Herald, not the back-off of their watches. Probes may be lost: while the node
// controller calls the pods not ready, kube-proxy drops new connections.
func TestTheAPIServerIsAwayFor30Seconds(t *testing.T) {
	begin(t)
	ctx := t.Context()
	addrs := calm(t, "offline")
	var back time.Time
	// For a minute after it, speakers doubt what is not ready all of a sudden, and
	// withdraw later than other tests expect (docs/adr/0007).
	defer func() { time.Sleep(time.Until(back.Add(65 * time.Second))) }()
	undisturbed(t, "offline", addrs, 75*time.Second, func() {
		must(t, herald.KillAPIServer())
		time.Sleep(30 * time.Second)
		must(t, herald.StartAPIServer())
		must(t, herald.WaitAPI(ctx))
		back = time.Now()
		must(t, herald.RestartWatchers(ctx))
		checkServedSoon(t)
	})
}

func checkServedSoon(t *testing.T) {
	ctx := t.Context()
	begun := time.Now()
	must(t, createWhenBack(ctx, stage.Service{Name: "back", App: "offline"}))
	created, err := herald.WaitAddrs(ctx, "back", 2)
	must(t, err)
	t.Logf("a Service created after the outage had its address after %.2f s", time.Since(begun).Seconds())
	for _, a := range created {
		stagetest.Answer(t, herald, lab.Ext, a, 10*time.Second)
	}
	took := time.Since(begun)
	t.Logf("it was served after %.2f s", took.Seconds())
	if took > 5*time.Second {
		t.Errorf("served after %s, want within 5 s", took)
	}
}

// createWhenBack retries: the API server is ready before all its controllers
// allow a Service to be created.
func createWhenBack(ctx context.Context, v stage.Service) error {
	return stage.Wait(ctx, 10*time.Second, func() error { return herald.Create(ctx, v) })
}

// Without graceful restart a speaker that dies takes its own node's path along, and
// no other's; restarted, it announces again. (With it nothing moves: see the
// package sessions.)
func TestASpeakerDiesAlone(t *testing.T) {
	begin(t)
	ctx := t.Context()
	restarts := stage.Config
	must(t, herald.Configure(ctx, strings.Replace(restarts, "  keepaliveTime: 3s\n", "  keepaliveTime: 3s\n  restartTime: 0s\n", 1)))
	t.Cleanup(func() { must(t, herald.Configure(context.Background(), restarts)) })
	time.Sleep(4 * time.Second) // for the sessions to open anew
	addrs := calm(t, "alone")
	pods, err := herald.Pods(ctx)
	must(t, err)
	for _, p := range pods {
		if p.Node == "n2" && strings.HasPrefix(p.Name, "herald-speaker") {
			must(t, herald.KillPod(p.Namespace+"/"+p.Name))
		}
	}
	must(t, stage.Wait(ctx, 15*time.Second, func() error {
		w, err := herald.Weights(ctx, addrs[0])
		if err == nil && (w["n1"] == 0 || w["n3"] == 0) {
			t.Fatalf("the other nodes' paths went too: %v", w)
		}
		if err == nil && w["n2"] != 0 {
			err = fmt.Errorf("the path by n2 is still there: %v", w)
		}
		return err
	}))
	for _, a := range addrs {
		must(t, herald.WaitWeights(ctx, 30*time.Second, a, map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	}
}
