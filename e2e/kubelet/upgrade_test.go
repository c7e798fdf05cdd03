package kubelet

import (
	"testing"

	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// The kubelet ends each speaker and starts the next, in its own time: nothing moves.
func TestTheDaemonSetIsRestarted(t *testing.T) {
	begin(t)
	a := serve(t, "upgrade")
	stagetest.Unmoved(t, herald, a, func() {
		stagetest.NothingLost(t, traffic(t, a, func() {
			kubectl(t, "-n herald-system rollout restart daemonset/herald-speaker")
			t.Log(kubectl(t, "-n herald-system rollout status daemonset/herald-speaker --timeout=3m"))
		}))
	})
}
