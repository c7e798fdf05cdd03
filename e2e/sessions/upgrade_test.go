package sessions

import (
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// The router keeps the routes of a speaker that is gone without a word, and its
// successor announces the same before the router gives up: nothing moves.
func TestASpeakerIsKilledAndComesBack(t *testing.T) {
	begin(t)
	a := serve(t, "killed", on("n1", "n2", "n3"), equal)[0]
	stagetest.Unmoved(t, herald, a, func() {
		stagetest.NothingLost(t, during(t, a, 20*time.Second, func() { killFor(t, "n2", 5*time.Second) }))
		waitServed(t, a, equal)
	})
}

// killFor kills the speaker of a node, and each that follows it, for a while.
func killFor(t *testing.T, node string, lasting time.Duration) {
	t.Helper()
	victim, begun := stagetest.SpeakerOn(t, herald, node), time.Now()
	must(t, herald.KillPod(victim))
	for time.Since(begun) < lasting {
		time.Sleep(10 * time.Millisecond)
		_ = herald.KillPod(victim) // none runs most of the time
	}
	t.Logf("no speaker on %s for %s", node, time.Since(begun).Round(100*time.Millisecond))
}

func TestTheDaemonSetIsRestarted(t *testing.T) {
	begin(t)
	ctx := t.Context()
	a := serve(t, "upgrade", on("n1", "n2", "n3"), equal)[0]
	stagetest.Unmoved(t, herald, a, func() {
		stagetest.NothingLost(t, during(t, a, 75*time.Second, func() {
			_, err := herald.Kubectl(ctx, "-n", "herald-system", "rollout", "restart", "daemonset/herald-speaker")
			must(t, err)
			out, err := herald.Kubectl(ctx, "-n", "herald-system", "rollout", "status", "daemonset/herald-speaker", "--timeout=60s")
			t.Log(out)
			must(t, err)
		}))
	})
	waitServed(t, a, equal)
}
