package rescue

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/e2e/lab"
)

// overlays are the packets that each node has received by its overlay, of the
// nodes that have one.
func overlays(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, n := range herald.Nodes() {
		text, err := herald.Exec(t.Context(), n.Name, "ip", "-s", "-j", "link", "show", "herald-vx")
		if err != nil {
			continue // there is none
		}
		var links []struct {
			Stats64 struct{ Rx struct{ Packets int } }
		}
		must(t, json.Unmarshal([]byte(text), &links))
		out[n.Name] = links[0].Stats64.Rx.Packets
	}
	return out
}

// Segments of full size do not fit into the overlay. The client is told, and
// makes smaller ones.
func TestUploadsGoOnInAnotherRack(t *testing.T) {
	begin(t)
	if !inRacks() {
		return
	}
	ctx := t.Context()
	addrs := serve(t, "upload")
	configure(t, true)
	t.Cleanup(func() { _, _ = herald.Kubectl(context.Background(), "annotate", "node", "n2", "heraldlb.io/drain-") })
	before := overlays(t)
	for i, h := range hold(t, addrs, func() {
		_, err := herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain=true")
		must(t, err)
		waitWeights(t, addrs, withoutN2)
	}, "-n", "50", "--size", "65536") {
		t.Logf("%s: %d of %d connections broken %v, %d requests of 64 KiB", addrs[i], h.Broken, h.Established, h.Kinds, h.Requests)
		if h.Broken > 0 {
			t.Errorf("%s: %d of %d connections broken, want none", addrs[i], h.Broken, h.Established)
		}
		if got := pathMTU(t, addrs[i]); got != "1450" {
			t.Errorf("%s: the client's path MTU is %q, want 1450", addrs[i], got)
		}
	}
	t.Logf("packets by the overlay: %v before, %v after", before, overlays(t))
	_, err := herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain-")
	must(t, err)
	waitWeights(t, addrs, all)
}

// pathMTU is what the client has learnt of the path to an address; empty: nothing.
func pathMTU(t *testing.T, a netip.Addr) string {
	t.Helper()
	out, err := herald.Exec(t.Context(), lab.Ext, "ip", "route", "get", a.String())
	must(t, err)
	_, mtu, _ := strings.Cut(out, " mtu ")
	mtu, _, _ = strings.Cut(mtu, " ")
	return strings.TrimSpace(mtu)
}
