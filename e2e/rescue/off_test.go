package rescue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

// stateOf is what a node's speaker says of itself.
func stateOf(ctx context.Context, node string) (st rescueState, err error) {
	out, err := herald.Exec(ctx, node, "curl", "-s", "http://127.0.0.1:7473/state")
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	return st, err
}

// A node whose tables somebody else holds cannot answer. The others hear of it by
// gossip, and do not ask it: its kube-proxy would reset their connections.
func TestANodeWithoutRescueIsNotAsked(t *testing.T) {
	begin(t)
	if inRacks() {
		return
	}
	serve(t, "off")
	configure(t, true)
	asks := func(want bool) {
		t.Helper()
		must(t, stage.Wait(t.Context(), 30*time.Second, func() error {
			for _, n := range []string{"n1", "n2"} {
				st, err := stateOf(t.Context(), n)
				if err != nil {
					return err
				}
				if slices.Contains(st.Rescue.Peers, "n3") != want || strings.Contains(st.Rescue.Why, "off on node n3") == want {
					return fmt.Errorf("%s asks %v; %s", n, st.Rescue.Peers, st.Rescue.Why)
				}
			}
			return nil
		}))
	}
	asks(true)
	// A table with an owner can be changed by nobody else. It ends with its owner.
	held := make(chan error, 1)
	go func() {
		_, err := herald.Exec(t.Context(), "n3", "sh", "-c", "nft delete table ip herald; (echo 'add table ip herald { flags owner; }'; sleep 20) | nft -i")
		held <- err
	}()
	asks(false)
	st, err := stateOf(t.Context(), "n3")
	must(t, err)
	if st.Rescue.On || st.Rescue.Why == "" {
		t.Errorf("n3 says %+v", st.Rescue)
	}
	t.Logf("n3: %s", st.Rescue.Why)
	must(t, <-held)
	asks(true)
}
