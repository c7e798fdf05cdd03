// Package kubelet tests Herald on nodes with real containerd and real kubelets:
// its own images, its manifests as they are, and what a kubelet does to pods.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

var (
	herald *stage.Stage
	must   = stagetest.Must
)

const password = "the-password-of-the-router"

// config has the router ask for a password.
const config = `apiVersion: heraldlb.io/v1
pools:
- name: public
  ranges: [10.99.16.0/20, fd99:1::/112]
peers:
- name: router
  address: ` + lab.Router4 + `
  asn: 64512
  holdTime: 9s
  keepaliveTime: 3s
  bfdProfile: default
  passwordKey: router
bgp:
  asn: 64513
  weights: {interval: 4s, minChange: 25, decreaseDelay: 2s, settleTime: 3s}
`

func TestMain(m *testing.M) {
	os.Exit(stage.Main(stage.Suite{
		Number: 58, AtMost: 25 * time.Minute,
		Options: lab.Options{
			Kubelets: []string{lab.All},
			Router:   "frr-8.4", BFD: true, // 10.3 takes no session before BFD is up (docs/routers.md)
			RouterExtraConfig: "router bgp 64512\n neighbor nodes password " + password + "\nexit\n",
		},
		Install: install,
		Run:     func(s *stage.Stage) int { herald = s; return m.Run() },
	}))
}

// install applies the manifests with everything, and sees how a kubelet finds
// speakers that have no configuration.
func install(ctx context.Context, l *lab.Lab) (*stage.Stage, error) {
	s := &stage.Stage{Lab: l}
	if err := s.MakeGossipKey(ctx); err != nil {
		return nil, err
	}
	if err := s.Secret(ctx, "herald-bgp", map[string]string{"router": password}); err != nil {
		return nil, err
	}
	if err := s.Manifests(ctx, "overlays/full"); err != nil {
		return nil, err
	}
	if err := errors.Join(waitRunning(ctx, s, 60*time.Second), stay(ctx, 5*time.Second, func() error { return noneReady(ctx, s) })); err != nil {
		return nil, err
	}
	if err := s.Configure(ctx, config); err != nil {
		return nil, err
	}
	return s, s.WaitInstalled(ctx)
}

// waitRunning waits until a speaker runs on each node.
func waitRunning(ctx context.Context, s *stage.Stage, atMost time.Duration) error {
	return stage.Wait(ctx, atMost, func() error {
		for _, n := range s.Nodes() {
			name, err := s.SpeakerOn(ctx, n.Name)
			if err != nil {
				return err
			}
			p, err := s.Pod(ctx, name)
			if err != nil || p.Phase != "Running" {
				return fmt.Errorf("%s is %s, %w", name, p.Phase, err)
			}
		}
		return nil
	})
}

// noneReady is an error if a speaker is ready that cannot be.
func noneReady(ctx context.Context, s *stage.Stage) error {
	for _, n := range s.Nodes() {
		name, err := s.SpeakerOn(ctx, n.Name)
		if err != nil {
			return err
		}
		if p, err := s.Pod(ctx, name); err != nil || p.Ready {
			return fmt.Errorf("%s has no configuration, and is ready all the same: %v, %w", name, p.Ready, err)
		}
	}
	return nil
}

// stay fails as soon as something is not so any more.
func stay(ctx context.Context, lasting time.Duration, so func() error) error {
	for end := time.Now().Add(lasting); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err := errors.Join(ctx.Err(), so()); err != nil {
			return err
		}
	}
	return nil
}

// begin is how every test starts.
func begin(t *testing.T) {
	t.Helper()
	stagetest.Begin(t, herald, config)
}

// everyNode is a third each.
var (
	everyNode = map[string]int{"n1": 1, "n2": 1, "n3": 1}
	withoutN2 = map[string]int{"n1": 1, "n3": 1}
)

// serve creates a Service with a pod on each node, and returns its first address
// once the router sends to all of them.
func serve(t *testing.T, name string) netip.Addr {
	t.Helper()
	ctx := t.Context()
	for node := range everyNode {
		runOn(t, name, node)
	}
	must(t, herald.Create(ctx, stage.Service{Name: name}))
	// The Service stays, so that no other test gets its address: nodes remember the
	// connections to a pod that has died, and lead a new one from the same port there.
	t.Cleanup(func() {
		_, err := herald.Kubectl(context.Background(), "delete", "pods", "-l", "app="+name, "--wait=false")
		must(t, err)
	})
	addrs, err := herald.WaitAddrs(ctx, name, 2)
	must(t, err)
	a := addrs[0]
	must(t, herald.WaitWeights(ctx, 20*time.Second, a, everyNode))
	stagetest.Answer(t, herald, lab.Ext, a, 20*time.Second)
	return a
}

// runOn runs a pod of a Service on a node. It has time to serve when it ends.
func runOn(t *testing.T, name, node string) {
	t.Helper()
	pod := name + "-" + node
	must(t, herald.RunPod(t.Context(), lab.PodSpec{Name: pod, Node: node, Labels: map[string]string{"app": name}, Grace: 9}))
	must(t, herald.WaitPods(t.Context(), 60*time.Second, pod))
}

// traffic sends 400 new connections a second, and holds 200, while something
// happens.
func traffic(t *testing.T, a netip.Addr, do func()) stage.Traffic {
	t.Helper()
	begun := time.Now()
	got, err := herald.Traffic(t.Context(), a, 2500*time.Microsecond, 0, do)
	must(t, err)
	t.Logf("%s, %s: %s", a, time.Since(begun).Round(100*time.Millisecond), got)
	return got
}

// wantOthersServed allows that connections to the pod of a node break, which ends,
// and nothing else.
func wantOthersServed(t *testing.T, got stage.Traffic, node string) {
	t.Helper()
	stagetest.NewServed(t, got)
	for _, p := range got.Hold.Pods {
		if p.Node != node && p.Broken > 0 {
			t.Errorf("%d of %d connections to %s broken, want none", p.Broken, p.Established, p.Pod)
		}
	}
}

// kubectl runs kubectl with the words of a line.
func kubectl(t *testing.T, line string) string {
	t.Helper()
	out, err := herald.Kubectl(t.Context(), strings.Fields(line)...)
	must(t, err)
	return out
}
