package e2e

import (
	"context"
	"testing"
	"time"
)

// A hundred Services created at once: all have addresses and routes within 5 s of the
// last creation. `make bench` creates 500: on a busy machine that takes minutes, in
// which three kube-proxies write their rules anew all the time.
func TestManyServicesAtOnce(t *testing.T) {
	begin(t)
	const n = 100
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "many", map[string]int{"n1": 1, "n2": 1}))
	t.Cleanup(func() {
		if err := herald.EndBurst(context.Background(), n); err != nil {
			t.Error(err)
		}
	})
	b, err := herald.Burst(ctx, n, "many", 2)
	must(t, err)
	t.Logf("%d Services created in %.1f s; all have addresses %.2f s, all routes %.2f s after the last creation",
		n, b.Creating.Seconds(), b.Addressed.Seconds(), b.Routed.Seconds())
	if b.Routed > 5*time.Second {
		t.Errorf("all routes %s after the last creation, want within 5 s", b.Routed)
	}
}
