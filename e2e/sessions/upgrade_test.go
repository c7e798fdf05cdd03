package sessions

import (
	"testing"
	"time"
)

// The router keeps the routes of a speaker that is gone without a word, and its
// successor announces the same before the router gives up: nothing moves.
func TestASpeakerIsKilledAndComesBack(t *testing.T) {
	a := serve(t, "killed", on("n1", "n2", "n3"), equal)[0]
	unmoved(t, a, func() {
		during(t, a, 20*time.Second, func() { must(t, herald.KillPod(speakerOn(t, "n2"))) }).wantNothingLost(t)
		waitServed(t, a, equal)
	})
}

func TestTheDaemonSetIsRestarted(t *testing.T) {
	ctx := t.Context()
	a := serve(t, "upgrade", on("n1", "n2", "n3"), equal)[0]
	unmoved(t, a, func() {
		during(t, a, 75*time.Second, func() {
			_, err := herald.Kubectl(ctx, "-n", "herald-system", "rollout", "restart", "daemonset/herald-speaker")
			must(t, err)
			out, err := herald.Kubectl(ctx, "-n", "herald-system", "rollout", "status", "daemonset/herald-speaker", "--timeout=60s")
			t.Log(out)
			must(t, err)
		}).wantNothingLost(t)
	})
	waitServed(t, a, equal)
}
