package kubelet

import (
	"fmt"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

// Nodes that leave in good order take nothing with them but their own pods'
// connections.
func TestANodeLeavesAndComesBack(t *testing.T) {
	begin(t)
	for _, tt := range []struct {
		desc        string
		leave, back func(*testing.T)
	}{
		{
			"drained",
			func(t *testing.T) {
				kubectl(t, "drain n2 --ignore-daemonsets --delete-emptydir-data --force --timeout=60s")
			},
			func(t *testing.T) { kubectl(t, "uncordon n2") },
		},
		{
			"shut down",
			func(t *testing.T) { must(t, herald.ShutDown(t.Context(), "n2")) },
			func(t *testing.T) { must(t, herald.PowerOn(t.Context(), "n2")) },
		},
		{
			"deleted",
			func(t *testing.T) { kubectl(t, "delete node n2") },
			// A kubelet registers its Node when it starts, and only then.
			func(t *testing.T) { must(t, herald.RestartKubelet("n2")) },
		},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			begin(t)
			ctx := t.Context()
			name := map[string]string{"drained": "drain", "shut down": "shutdown", "deleted": "delete"}[tt.desc]
			a := serve(t, name)
			wantOthersServed(t, traffic(t, a, func() {
				begun := time.Now()
				tt.leave(t)
				took := time.Since(begun)
				must(t, herald.WaitWeights(ctx, 30*time.Second, a, withoutN2))
				t.Logf("it took %s; the routes had gone after %s", took.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
				time.Sleep(3 * time.Second)
				tt.back(t)
				// The pod was nobody's but the node's.
				kubectl(t, "delete pod "+name+"-n2 --ignore-not-found --wait --timeout=90s")
				must(t, waitReady(t, "n2"))
				runOn(t, name, "n2")
				must(t, herald.WaitReplicas(ctx))
				must(t, herald.WaitWeights(ctx, 30*time.Second, a, everyNode))
			}), "n2")
		})
	}
}

// waitReady waits until the API calls a node ready.
func waitReady(t *testing.T, node string) error {
	return stage.Wait(t.Context(), 60*time.Second, func() error {
		out, err := herald.Kubectl(t.Context(), "get", "node", node, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && out != "True" {
			err = fmt.Errorf("node %s: Ready is %s", node, out)
		}
		return err
	})
}
