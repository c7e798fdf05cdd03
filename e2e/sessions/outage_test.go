package sessions

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// speakerState is what a speaker says of itself on /state.
type speakerState struct {
	Resumed *time.Time
	Fused   int
}

func stateOf(t *testing.T, node string) (st speakerState, err error) {
	out, err := herald.Exec(t.Context(), node, "curl", "-s", "http://127.0.0.1:7473/state")
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	return st, err
}

// A speaker that starts while the API server is away goes on with what the last
// one knew.
func TestASpeakerStartsWithoutTheAPIServer(t *testing.T) {
	begin(t)
	ctx := t.Context()
	a := serve(t, "resume", on("n1", "n2", "n3"), equal)[0]
	time.Sleep(6 * time.Second) // until the state is saved
	victim := stagetest.SpeakerOn(t, herald, "n2")
	must(t, herald.KillAPIServer())
	stagetest.Unmoved(t, herald, a, func() {
		stagetest.NothingLost(t, during(t, a, 50*time.Second, func() {
			must(t, herald.KillPod(victim))
			must(t, stage.Wait(ctx, 20*time.Second, func() error {
				st, err := stateOf(t, "n2")
				if err == nil && st.Resumed == nil {
					err = fmt.Errorf("n2 does not say that it announces a saved state")
				}
				return err
			}))
			must(t, herald.WaitMetric(ctx, 5*time.Second, "n2", stage.Is(1), "herald_speaker_resumed"))
			must(t, herald.WaitMetric(ctx, 5*time.Second, "n2", stage.Is(0), "herald_speaker_synced"))
			time.Sleep(35 * time.Second) // longer than the restart time
			must(t, herald.StartAPIServer())
		}))
	})
	must(t, herald.WaitAPI(ctx))
	must(t, herald.RestartWatchers(ctx))
	must(t, stage.Wait(ctx, 60*time.Second, func() error {
		st, err := stateOf(t, "n2")
		if err == nil && st.Resumed != nil {
			err = fmt.Errorf("n2 still announces a saved state")
		}
		return err
	}))
	must(t, herald.WaitMetric(ctx, 5*time.Second, "n2", stage.Is(0), "herald_speaker_resumed"))
	must(t, herald.WaitMetric(ctx, 5*time.Second, "n2", stage.Is(1), "herald_speaker_synced"))
	waitServed(t, a, equal)
}

// A mass withdrawal that nobody has told of is held back, told, and then believed.
// Here all pods of many Services lose their readiness at once. What goes beside it
// for a reason of its own, goes at once.
func TestTheFuse(t *testing.T) {
	begin(t)
	ctx := t.Context()
	const n = 12
	serve(t, "fuse", on("n1", "n2", "n3"), equal)
	beside := serve(t, "beside", on("n1", "n2", "n3"), equal)[0]
	// Other tests have left Services that lose nothing, and count.
	must(t, herald.Configure(ctx, config+"nodes: {fuse: {percent: 20, holdTime: 15s}}\n"))
	t.Cleanup(func() { must(t, herald.Configure(context.Background(), config)) })
	many, err := herald.CreateMany(ctx, n, stage.Service{Name: "fuse", App: "fuse"})
	must(t, err)
	for _, m := range many {
		must(t, herald.WaitWeights(ctx, 20*time.Second, m, equal))
	}
	begun := time.Now()
	for _, node := range []string{"n1", "n2", "n3"} {
		must(t, herald.SetReady(ctx, "fuse-"+node+"-0", false))
	}
	// The API tells of one Service after the other, and each node sees the mass at
	// another moment. What went before that has gone.
	must(t, stage.Wait(ctx, 10*time.Second, func() error {
		st, err := stateOf(t, "n1")
		if err == nil && st.Fused < 4 {
			err = fmt.Errorf("%d withdrawals are held back, want 4 or more", st.Fused)
		}
		return err
	}))
	must(t, herald.WaitMetric(ctx, 2*time.Second, "n1", stage.Above(0), "herald_speaker_fuse_held"))
	// Another node may see the mass later than n1, and let some go until then.
	held := heldServices(t, many)
	for before := 0; before != len(held); held = heldServices(t, many) {
		before = len(held)
		time.Sleep(time.Second)
	}
	if len(held) < 2 {
		t.Fatalf("only %v are still announced", held)
	}
	must(t, herald.SetReady(ctx, "beside-n2-0", false))
	must(t, herald.WaitWeights(ctx, 4*time.Second, beside, on("n1", "n3")))
	must(t, herald.Delete(ctx, held[0].Metadata.Name))
	must(t, herald.WaitWeights(ctx, 2*time.Second, held[0].Addrs()[0], nil))
	if w, err := herald.Weights(ctx, held[1].Addrs()[0]); err != nil || len(w) == 0 {
		t.Errorf("%s is not held any more: %v, %v", held[1].Metadata.Name, w, err)
	}

	must(t, stage.Wait(ctx, 8*time.Second, func() error {
		out, err := herald.Kubectl(ctx, "get", "events", "--field-selector", "reason=WithdrawalHeld")
		if err == nil && !strings.Contains(out, "node/n1") {
			err = fmt.Errorf("no Event on the Node tells it:\n%s", out)
		}
		return err
	}))
	must(t, stage.Wait(ctx, 30*time.Second, func() error {
		st, err := stateOf(t, "n1")
		if err == nil && st.Fused > 0 {
			err = fmt.Errorf("%d withdrawals are still held back", st.Fused)
		}
		return err
	}))
	must(t, herald.WaitMetric(ctx, 2*time.Second, "n1", stage.Is(0), "herald_speaker_fuse_held"))
	if took := time.Since(begun); took < 15*time.Second {
		t.Errorf("withdrawn after %s, want the holdTime of 15 s", took)
	}
	for _, m := range many {
		must(t, herald.WaitWeights(ctx, 2*time.Second, m, nil))
	}
	for i := range n {
		if name := fmt.Sprintf("fuse-%d", i); name != held[0].Metadata.Name {
			must(t, herald.Delete(ctx, name))
		}
	}
}

// heldServices are those of some addresses that the router still sends to a node.
func heldServices(t *testing.T, addrs []netip.Addr) (held []stage.Status) {
	t.Helper()
	all, err := herald.Statuses(t.Context())
	must(t, err)
	for _, v := range all {
		if a := v.Addrs(); len(a) > 0 && slices.Contains(addrs, a[0]) {
			if w, err := herald.Weights(t.Context(), a[0]); err == nil && len(w) > 0 {
				held = append(held, v)
			}
		}
	}
	return held
}
