package layer2

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

// Two Local Services share an address, one for TCP and one for UDP. Their pods
// meet on one node at first, and then on none.
func TestASharedAddressHasAnOwnerForAll(t *testing.T) {
	begin(t)
	must(t, herald.RunPods(t.Context(), "sharetcp", map[string]int{"n1": 1, "n2": 1}))
	must(t, herald.RunPods(t.Context(), "shareudp", map[string]int{"n2": 1, "n3": 1}))
	share := map[string]string{"heraldlb.io/allow-shared-ip": "layer2"}
	create(t, stage.Service{Name: "sharetcp", Protocol: "TCP", SingleStack: true, Annotations: share})
	addrs, err := herald.WaitAddrs(t.Context(), "sharetcp", 1)
	must(t, err)
	share = map[string]string{"heraldlb.io/allow-shared-ip": "layer2", "heraldlb.io/load-balancer-ips": addrs[0].String()}
	create(t, stage.Service{Name: "shareudp", Protocol: "UDP", SingleStack: true, Annotations: share})
	_, err = herald.WaitAddrs(t.Context(), "shareudp", 1)
	must(t, err)

	w := openWire(t)
	w.waitOwners(t, addrs, "n2")
	waitServed(t, addrs[0])
	must(t, herald.RemovePod(t.Context(), "shareudp-n2-0"))
	w.waitNobody(t, addrs...)
	for _, service := range []string{"sharetcp", "shareudp"} {
		explained := explain(t, service)
		if !strings.Contains(explained, "SharerNotServed: default/") || strings.Contains(explained, "answers") {
			t.Errorf("heraldctl does not say that no node can serve both:\n%s", explained)
		}
	}
	must(t, herald.RunPods(t.Context(), "shareudp", map[string]int{"n1": 1}))
	w.waitOwners(t, addrs, "n1")
}

// create creates a Service that goes with the test.
func create(t *testing.T, v stage.Service) {
	t.Helper()
	must(t, herald.Create(t.Context(), v))
	t.Cleanup(func() { must(t, herald.Delete(context.Background(), v.Name)) })
}

func explain(t *testing.T, service string) string {
	t.Helper()
	out, _, err := herald.Heraldctl(t.Context(), "explain", service)
	must(t, err)
	return out
}

// While the pods of a Local Service move, no node without one answers.
func TestALocalServiceNeverAnswersElsewhere(t *testing.T) {
	begin(t)
	must(t, herald.RunPods(t.Context(), "moving", map[string]int{"n1": 1}))
	w, addrs := openWire(t), many(t, 8, stage.Service{Name: "moving"}, "lan")
	w.waitOwners(t, addrs, "n1")
	must(t, herald.RunPods(t.Context(), "moving", map[string]int{"n2": 1}))
	waitMoved := func(others ...string) {
		end := time.Now().Add(3 * time.Second)
		for seen := map[string]bool{}; time.Now().Before(end); {
			got, err := w.askEach(t.Context(), addrs, 20*time.Millisecond)
			must(t, err)
			for _, nodes := range got {
				for _, n := range nodes {
					seen[n] = true
				}
			}
			if seen["n3"] {
				t.Fatalf("n3, which has no pod, answers: %v", got)
			}
		}
		w.waitOwners(t, addrs, others...)
	}
	waitMoved("n1", "n2")
	must(t, herald.RemovePod(t.Context(), "moving-n1-0"))
	waitMoved("n2")
}
