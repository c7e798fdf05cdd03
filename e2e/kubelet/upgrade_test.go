package kubelet

import "testing"

// The kubelet ends each speaker and starts the next, in its own time: nothing moves.
func TestTheDaemonSetIsRestarted(t *testing.T) {
	begin(t)
	a := serve(t, "upgrade")
	unmoved(t, a, func() {
		wantNothingLost(t, traffic(t, a, func() {
			kubectl(t, "-n herald-system rollout restart daemonset/herald-speaker")
			t.Log(kubectl(t, "-n herald-system rollout status daemonset/herald-speaker --timeout=3m"))
		}))
	})
}
