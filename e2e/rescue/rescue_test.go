package rescue

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

var (
	all       = map[string]int{"n1": 1, "n2": 1, "n3": 1}
	withoutN2 = map[string]int{"n1": 1, "n3": 1}
)

// serve creates a Service with a pod on each node.
func serve(t *testing.T, name string) []netip.Addr {
	t.Helper()
	must(t, herald.RunPods(t.Context(), name, map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	must(t, herald.Create(t.Context(), stage.Service{Name: name}))
	addrs, err := herald.WaitAddrs(t.Context(), name, 2)
	must(t, err)
	waitWeights(t, addrs, all)
	for _, a := range addrs {
		stagetest.Answer(t, herald, lab.Ext, a, 20*time.Second)
	}
	return addrs
}

func waitWeights(t *testing.T, addrs []netip.Addr, want map[string]int) {
	t.Helper()
	for _, a := range addrs {
		must(t, herald.WaitWeights(t.Context(), 30*time.Second, a, want))
	}
}

// hold keeps 200 connections to each address, with a request every 100 ms, while
// something happens, and for a while after.
func hold(t *testing.T, addrs []netip.Addr, do func(), more ...string) []flows.Hold {
	t.Helper()
	got := make([]flows.Hold, len(addrs))
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() {
			argv := append([]string{"flows", "hold", "--duration", "12s", "--timeout", "5s", "--target", stage.Target(a)}, more...)
			errs[i] = herald.Run(t.Context(), lab.Ext, &got[i], argv...)
		})
	}
	time.Sleep(2 * time.Second)
	do()
	wg.Wait()
	for i, err := range errs {
		must(t, err)
		if got[i].Established != got[i].Connections || got[i].Connections == 0 {
			t.Fatalf("%d of %d connections to %s", got[i].Established, got[i].Connections, addrs[i])
		}
	}
	return got
}

// rescueState is the part of /state that this package is about.
type rescueState struct {
	Rescue struct {
		On    bool
		Why   string
		Peers []string
	}
}

// configure turns the rescue on or off and waits until every node says so. In
// racks, and only there, it then has an overlay.
func configure(t *testing.T, on bool) {
	t.Helper()
	text := config
	if !on {
		text = strings.Replace(text, "- name: public\n", "- name: public\n  flowRescue: off\n", 1)
	}
	must(t, herald.Configure(t.Context(), text))
	for _, n := range herald.Nodes() {
		must(t, stage.Wait(t.Context(), 30*time.Second, func() error {
			out, err := herald.Exec(t.Context(), n.Name, "curl", "-s", "http://127.0.0.1:7473/state")
			var st rescueState
			if err == nil {
				err = json.Unmarshal([]byte(out), &st)
			}
			if err == nil && (st.Rescue.On != on || on && len(st.Rescue.Peers) < 2) {
				err = fmt.Errorf("%s: on is %v, want %v; %s; peers %v", n.Name, st.Rescue.On, on, st.Rescue.Why, st.Rescue.Peers)
			}
			return err
		}))
	}
	is := 0.0
	if on {
		is = 1
	}
	for _, n := range herald.Nodes() {
		must(t, herald.WaitMetric(t.Context(), 5*time.Second, n.Name, stage.Is(is), "herald_rescue_on"))
	}
	want := 0
	if on && inRacks() {
		want = len(herald.Nodes())
	}
	if got := overlays(t); len(got) != want {
		t.Fatalf("rescue %v: %d nodes have an overlay, want %d: %v", on, len(got), want, got)
	}
}

// packets are those of flow rescue on all nodes, by what was done.
func packets(t *testing.T) map[string]float64 {
	t.Helper()
	sum := map[string]float64{}
	for _, n := range herald.Nodes() {
		m, err := herald.SpeakerMetrics(t.Context(), n.Name)
		must(t, err)
		for _, what := range []string{"asked", "claimed", "directed", "given_up", "limited"} {
			sum[what] += m.Sum("herald_rescue_packets_total", `what="`+what+`"`)
		}
	}
	return sum
}

// Each event moves connections to nodes that do not know them. With rescue none
// breaks; without, the number is printed and shows that the event was one.
func TestNoConnectionBreaks(t *testing.T) {
	begin(t)
	ctx := t.Context()
	addrs := serve(t, "kept")
	drain := func(t *testing.T) {
		_, err := herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain=true")
		must(t, err)
		waitWeights(t, addrs, withoutN2)
	}
	undrain := func(t *testing.T) {
		_, err := herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain-")
		must(t, err)
		waitWeights(t, addrs, all)
	}
	t.Cleanup(func() { _, _ = herald.Kubectl(context.Background(), "annotate", "node", "n2", "heraldlb.io/drain-") })
	for _, on := range []bool{false, true} {
		configure(t, on)
		before := packets(t)
		events := []struct {
			desc string
			do   func(*testing.T)
		}{
			{"a node drains, its pods live on", drain},
			{"a node is added", undrain},
			{"a pod is added, and weights change", func(t *testing.T) {
				name := fmt.Sprintf("kept-more-%v", on)
				must(t, herald.RunPod(ctx, lab.PodSpec{Name: name, Node: "n1", Labels: map[string]string{"app": "kept"}}))
				waitWeights(t, addrs, map[string]int{"n1": 50, "n2": 25, "n3": 25})
			}},
			{"the pod goes again", func(t *testing.T) {
				must(t, herald.SetReady(ctx, fmt.Sprintf("kept-more-%v", on), false))
				waitWeights(t, addrs, all)
			}},
		}
		if inRacks() {
			events = events[:3] // to save time
		}
		for _, event := range events {
			t.Run(fmt.Sprintf("rescue %v: %s", on, event.desc), func(t *testing.T) {
				for i, h := range hold(t, addrs, func() { event.do(t) }) {
					t.Logf("%s: %d of %d connections broken %v", addrs[i], h.Broken, h.Established, h.Kinds)
					if on && h.Broken > 0 {
						t.Errorf("%s: %d of %d connections broken, want none", addrs[i], h.Broken, h.Established)
					}
					if !on && h.Broken < 20 {
						t.Errorf("%s: only %d broken without rescue: the event moves nothing", addrs[i], h.Broken)
					}
				}
			})
		}
		for what, n := range packets(t) {
			worked := what == "asked" || what == "claimed" || what == "directed"
			if on && worked && n <= before[what] || !on && n != before[what] {
				t.Errorf("rescue %v: herald_rescue_packets_total %s of all nodes was %v and is %v", on, what, before[what], n)
			}
		}
		if got := overlays(t); on && inRacks() && got["n2"] < 1000 {
			t.Errorf("packets by the overlay: %v, but n2 has no other way", got)
		}
		must(t, herald.RemovePod(ctx, fmt.Sprintf("kept-more-%v", on)))
		waitWeights(t, addrs, all)
	}
}

// Thousands of connections move at once, and again.
func TestThousandsOfConnections(t *testing.T) {
	begin(t)
	if inRacks() {
		return
	}
	ctx := t.Context()
	addrs := serve(t, "thousands")[:1]
	configure(t, true)
	t.Cleanup(func() { _, _ = herald.Kubectl(context.Background(), "annotate", "node", "n2", "heraldlb.io/drain-") })
	h := hold(t, addrs, func() {
		_, err := herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain=true")
		must(t, err)
		waitWeights(t, addrs, withoutN2)
		time.Sleep(2 * time.Second)
		_, err = herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain-")
		must(t, err)
		waitWeights(t, addrs, all)
		time.Sleep(2 * time.Second)
		must(t, herald.RunPod(ctx, lab.PodSpec{Name: "thousands-more", Node: "n1", Labels: map[string]string{"app": "thousands"}}))
		waitWeights(t, addrs, map[string]int{"n1": 50, "n2": 25, "n3": 25})
	}, "-n", "4000", "--interval", "500ms", "--duration", "25s")[0]
	t.Logf("%d of %d connections broken %v, %d requests", h.Broken, h.Established, h.Kinds, h.Requests)
	if h.Broken > 0 {
		t.Errorf("%d of %d connections broken, want none", h.Broken, h.Established)
	}
}

// A node that dies takes its own connections along, and no other's. They are told.
func TestANodeDies(t *testing.T) {
	begin(t)
	ctx := t.Context()
	addrs := serve(t, "death")
	must(t, stage.Wait(ctx, 30*time.Second, func() error {
		out, err := herald.Vtysh(ctx, "show bfd peers brief")
		if n := strings.Count(out, " up"); err == nil && n < 3 {
			err = fmt.Errorf("%d BFD sessions are up, want 3:\n%s", n, out)
		}
		return err
	}))
	var died time.Time
	for i, h := range hold(t, addrs, func() {
		died = time.Now()
		must(t, herald.PowerOff(ctx, "n2"))
	}) {
		own := 0
		for _, p := range h.Pods {
			if p.Node == "n2" {
				own += p.Established
			} else if p.Broken > 0 {
				t.Errorf("%s: %d connections of %s on %s broken, want none", addrs[i], p.Broken, p.Pod, p.Node)
			}
		}
		if h.LastBroken == nil || h.Broken != own || own == 0 {
			t.Fatalf("%s: %d broken, want the %d of the dead node", addrs[i], h.Broken, own)
		}
		told := h.LastBroken.Sub(died)
		t.Logf("%s: %d of %d connections broken %v, %d were the dead node's; the last was told after %s", addrs[i], h.Broken, h.Established, h.Kinds, own, told)
		// BFD takes up to 0.9 s. The client's third retransmission, after 1.4 s, is the
		// first to reach a living node, whose peers all deny then.
		if h.Kinds["reset"] != own || told > 2*time.Second {
			t.Errorf("%s: broken by %v, the last after %s: want a reset within 2 s", addrs[i], h.Kinds, told)
		}
	}
	must(t, herald.PowerOn(ctx, "n2"))
	must(t, herald.WaitReplicas(ctx))
	must(t, herald.WaitPods(ctx, 60*time.Second, "death-n2-0"))
	waitWeights(t, addrs, all)
}

// A speaker that is killed leaves the tables to the next one, which keeps what
// they hold.
func TestASpeakerIsKilledMeanwhile(t *testing.T) {
	begin(t)
	ctx := t.Context()
	addrs := serve(t, "meanwhile")
	configure(t, true)
	t.Cleanup(func() { _, _ = herald.Kubectl(context.Background(), "annotate", "node", "n2", "heraldlb.io/drain-") })
	pods, err := herald.HeraldPods(ctx, "speaker")
	must(t, err)
	for i, h := range hold(t, addrs, func() {
		_, err := herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain=true")
		must(t, err)
		waitWeights(t, addrs, withoutN2)
		for _, p := range pods {
			must(t, herald.KillPod(p))
		}
	}) {
		t.Logf("%s: %d of %d connections broken %v", addrs[i], h.Broken, h.Established, h.Kinds)
		if h.Broken > 0 {
			t.Errorf("%s: %d of %d connections broken, want none", addrs[i], h.Broken, h.Established)
		}
	}
	must(t, herald.WaitReplicas(ctx))
	_, err = herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain-")
	must(t, err)
	waitWeights(t, addrs, all)
}
