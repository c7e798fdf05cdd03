package layer2

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

// eligible creates Services that every node can serve, whatever the state of its
// own pods.
func eligible(t *testing.T, name string) []netip.Addr {
	t.Helper()
	must(t, herald.RunPods(t.Context(), name, map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	return many(t, 4, stage.Service{Name: name, Cluster: true}, "lan")
}

func kubectl(t *testing.T, args ...string) {
	t.Helper()
	_, err := herald.Kubectl(t.Context(), args...)
	must(t, err)
}

// undo is kubectl at the end of the test, whatever came of it.
func undo(t *testing.T, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		_, err := herald.Kubectl(context.Background(), args...)
		must(t, err)
	})
}

// leaves checks that a node's addresses, and no others, have gone to others.
func leaves(t *testing.T, w *wire, addrs []netip.Addr, before owners, node string, others ...string) {
	t.Helper()
	after := w.waitOwners(t, addrs, others...)
	moved(t, addrs, before, after, node)
	t.Logf("without %s: %v, was %v", node, after.count(), before.count())
}

// returns waits until every address is owned as before. The controllers may take
// long to say of each of hundreds of Services that a pod is ready again.
func returns(t *testing.T, w *wire, addrs []netip.Addr, before owners) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 60*time.Second, func() error { return before.same(w.waitOwners(t, addrs)) }))
}

func TestAnExcludedNodeLeaves(t *testing.T) {
	begin(t)
	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	addrs, w := eligible(t, "excluded"), openWire(t)
	before := w.waitOwners(t, addrs)
	undo(t, "label", "node", "n1", label+"-")
	kubectl(t, "label", "node", "n1", label+"=")
	leaves(t, w, addrs, before, "n1", "n2", "n3")
	kubectl(t, "label", "node", "n1", label+"-")
	returns(t, w, addrs, before)
}

func TestACordonedNodeLeavesOnlyIfConfigured(t *testing.T) {
	begin(t)
	addrs, w := eligible(t, "cordoned"), openWire(t)
	before := w.waitOwners(t, addrs)
	undo(t, "uncordon", "n2")
	kubectl(t, "cordon", "n2")
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		must(t, before.same(w.waitOwners(t, addrs)))
	}
	configure(t, "nodes:\n  cordoned: leave\n")
	leaves(t, w, addrs, before, "n2", "n1", "n3")
	kubectl(t, "uncordon", "n2")
	returns(t, w, addrs, before)
}

// The kubelet says that it cannot run pods. The node's speaker runs on, and so
// does the gossip.
func TestANodeThatIsNotReadyLeaves(t *testing.T) {
	begin(t)
	addrs, w := eligible(t, "unready"), openWire(t)
	before := w.waitOwners(t, addrs)
	must(t, herald.StopHeartbeat("n3")) // which would say that all is well
	t.Cleanup(func() { must(t, herald.ResumeHeartbeat("n3")) })
	notReady := `{"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"a test says so"}]}}`
	_, err := herald.API(t.Context(), "PATCH", "/api/v1/nodes/n3/status", []byte(notReady))
	must(t, err)
	leaves(t, w, addrs, before, "n3", "n1", "n2")
	must(t, herald.ResumeHeartbeat("n3"))
	returns(t, w, addrs, before)
}

func TestAPoolSelectsItsNodes(t *testing.T) {
	begin(t)
	const label = "example.com/rack"
	undo(t, "label", "nodes", "n1", "n2", label+"-")
	kubectl(t, "label", "node", "n1", label+"=a")
	configure(t, `- name: rack
  ranges: [10.77.0.48/29, "fd77::3000/125"]
  autoAssign: false
  announce: [l2]
  nodeSelector:
    matchLabels: {`+label+`: a}
`)
	must(t, herald.RunPods(t.Context(), "rack", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	w, addrs := openWire(t), many(t, 4, stage.Service{Name: "rack"}, "rack")
	w.waitOwners(t, addrs, "n1")
	kubectl(t, "label", "node", "n2", label+"=a")
	kubectl(t, "label", "node", "n1", label+"-")
	w.waitOwners(t, addrs, "n2")
	kubectl(t, "label", "node", "n2", label+"-")
	w.waitNobody(t, addrs...)
}
