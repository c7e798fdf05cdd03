package e2e

import (
	"context"
	"testing"
	"time"
)

// 500 Services created at once: all have addresses and routes within 5 s of the
// last creation.
func TestFiveHundredServicesAtOnce(t *testing.T) {
	begin(t)
	const n = 500
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
