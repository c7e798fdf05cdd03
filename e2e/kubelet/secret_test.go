package kubelet

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The kubelet writes a changed Secret into the files of the speakers that run, and
// these open their sessions with it. The other tests do not care which it is.
func TestThePasswordOfTheRouterChanges(t *testing.T) {
	begin(t)
	ctx := t.Context()
	out, err := herald.Vtysh(ctx, "show running-config")
	must(t, err)
	if !strings.Contains(out, "neighbor nodes password ") {
		t.Fatalf("the router asks for no password:\n%s", out)
	}
	another := fmt.Sprintf("another-%d", time.Now().Unix())
	_, err = herald.Vtysh(ctx, "configure terminal", "router bgp 64512", "neighbor nodes password "+another)
	must(t, err)
	_, err = herald.Vtysh(ctx, "clear bgp *")
	must(t, err)
	must(t, herald.Secret(ctx, "herald-bgp", map[string]string{"router": another}))
	begun := time.Now()
	must(t, herald.Calm(ctx))
	t.Logf("all sessions were up %s after the change", time.Since(begun).Round(time.Second))
}
