package kubelet

import (
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// From everything to the least and back, as docs/operations.md says.
func TestTheBaseInPlaceOfEverything(t *testing.T) {
	begin(t)
	ctx := t.Context()
	a := serve(t, "overlay")
	rescue := func(want float64) {
		t.Helper()
		for _, n := range herald.Nodes() {
			must(t, herald.WaitMetric(ctx, 30*time.Second, n.Name, stage.Is(want), "herald_rescue_on"))
		}
	}
	apply := func(folder string) {
		t.Helper()
		must(t, herald.Manifests(ctx, folder))
		must(t, herald.WaitReplicas(ctx))
	}
	rescue(1)
	stagetest.Unmoved(t, herald, a, func() {
		stagetest.NothingLost(t, traffic(t, a, func() {
			must(t, herald.Configure(ctx, strings.Replace(config, "::/112]\n", "::/112]\n  flowRescue: off\n", 1)))
			rescue(0)
			apply("base")
			if out := kubectl(t, "-n herald-system get daemonset herald-speaker -o jsonpath={.spec.template.spec.containers[0].securityContext.capabilities}"); strings.Contains(out, "add") {
				t.Errorf("speakers of manifests/base have capabilities: %s", out)
			}
			apply("overlays/full")
			must(t, herald.Configure(ctx, config))
			rescue(1)
		}))
	})
}
