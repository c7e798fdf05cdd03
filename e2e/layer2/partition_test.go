package layer2

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// cached is what a place has cached about its neighbours: the nodes by address.
func cached(ctx context.Context, place string) (map[netip.Addr]string, error) {
	out, err := herald.Exec(ctx, place, "ip", "-j", "neigh", "show")
	if err != nil {
		return nil, err
	}
	var list []struct {
		Dst    netip.Addr
		LLAddr string
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("neighbours of %s: %w", place, err)
	}
	nodes := map[netip.Addr]string{}
	for _, n := range list {
		if n.LLAddr != "" {
			nodes[n.Dst] = nodeOf(n.LLAddr)
		}
	}
	return nodes, nil
}

// reach opens a connection from a place to each address.
func reach(t *testing.T, place string, addrs []netip.Addr) {
	t.Helper()
	for _, a := range addrs {
		stagetest.Answer(t, herald, place, a, 5*time.Second)
	}
}

// waitCached waits until what the places have cached is the owner of each address.
func waitCached(t *testing.T, want owners, places ...string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 10*time.Second, func() error {
		for _, place := range places {
			got, err := cached(t.Context(), place)
			if err != nil {
				return err
			}
			for a, nodes := range want {
				if got[a] != nodes[0] {
					return fmt.Errorf("%s has cached %q for %s, but %s owns it", place, got[a], a, nodes[0])
				}
			}
		}
		return nil
	}))
}

// partition is a way to cut n1 off from n2 and n3.
type partition struct {
	desc      string
	cut, heal func(context.Context) error
	// seen is whether the halves see what the other announces.
	seen bool
}

const noGossip = `add table inet cut
add chain inet cut in { type filter hook input priority -300; }
add chain inet cut out { type filter hook output priority -300; }
add rule inet cut in udp dport 7946 drop
add rule inet cut in tcp dport 7946 drop
add rule inet cut in tcp sport 7946 drop
add rule inet cut out udp dport 7946 drop
add rule inet cut out tcp dport 7946 drop
`

var partitions = []partition{
	{
		desc: "only the gossip is cut",
		cut: func(ctx context.Context) error {
			_, err := herald.Exec(ctx, "n1", "sh", "-c", "nft -f - <<'END'\n"+noGossip+"END")
			return err
		},
		heal: func(ctx context.Context) error {
			_, err := herald.Exec(ctx, "n1", "nft", "delete", "table", "inet", "cut")
			return err
		},
		seen: true,
	},
	{
		desc: "the segment is cut, and a client is with n1",
		cut:  func(ctx context.Context) error { return herald.Split(ctx, "n1", lab.Router) },
		heal: func(ctx context.Context) error { return herald.Unite(ctx, "n1", lab.Router) },
	},
}

// A partition between n1 and the others: each half owns all that it can serve.
// Within 2 s of its end each of 20 addresses has one answerer, the owner from
// before, and clients in both halves have cached it.
func TestPartition(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "parted") })
	must(t, herald.RunPods(t.Context(), "parted", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	addrs, err := herald.CreateMany(t.Context(), 10, stage.Service{Name: "parted"})
	must(t, err)
	w := openWire(t)
	before := w.waitOwners(t, addrs)
	if n := len(before.count()); n < 2 {
		t.Fatalf("%d nodes own the addresses, want at least 2: %v", n, before.count())
	}
	for _, p := range partitions {
		t.Run(p.desc, func(t *testing.T) { p.test(t, w, addrs, before) })
	}
}

func (p partition) test(t *testing.T, w *wire, addrs []netip.Addr, before owners) {
	clients := []string{lab.LANClient, lab.Router}
	for _, place := range clients {
		reach(t, place, addrs)
	}
	must(t, p.cut(t.Context()))
	t.Cleanup(func() { _ = p.heal(context.Background()) })
	p.waitBoth(t, w, addrs)
	for _, place := range clients {
		reach(t, place, addrs)
	}
	if p.seen {
		waitEvent(t, "AddressConflict", "node n1 (02:00:0a:4d:00:0b) answers for ")
	}
	time.Sleep(time.Second) // announcements of the takeover must not hide those of the healing
	must(t, p.heal(t.Context()))
	healed := time.Now()
	waitCached(t, before, clients...)
	t.Logf("the caches of %v are right %.2f s after the healing", clients, time.Since(healed).Seconds())
	after := w.waitOwners(t, addrs)
	took := time.Since(healed)
	t.Logf("each of %d addresses has one answerer %.2f s after the healing", len(addrs), took.Seconds())
	if took >= 2*time.Second {
		t.Errorf("it took %s until each address had one answerer and the clients knew it, want less than 2 s", took)
	}
	for a, nodes := range after {
		if !slices.Equal(nodes, before[a]) {
			t.Errorf("%v answers for %s, want %v as before", nodes, a, before[a])
		}
	}
	time.Sleep(5 * time.Second) // for the last announcements of all
	waitCached(t, before, clients...)
	for _, place := range clients {
		reach(t, place, addrs)
	}
	if err := w.waitOneOf(t, addrs); err != nil {
		t.Error(err)
	}
}

// waitBoth waits until the half that the client is in, or both if they share the
// segment, have taken over what they can serve.
func (p partition) waitBoth(t *testing.T, w *wire, addrs []netip.Addr) {
	t.Helper()
	begun := time.Now()
	must(t, stage.Wait(t.Context(), 10*time.Second, func() error {
		got, err := w.askEach(t.Context(), addrs, 100*time.Millisecond)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			others := slices.DeleteFunc(slices.Clone(got[a]), func(n string) bool { return n == "n1" })
			if len(others) != 1 || p.seen != slices.Contains(got[a], "n1") {
				return fmt.Errorf("%v answer for %s: want one of each half that the client sees", got[a], a)
			}
		}
		return nil
	}))
	t.Logf("each half answers for each address %.2f s after the cut", time.Since(begun).Seconds())
}

// waitOneOf asks once more, and returns an error unless each address has one
// answerer.
func (w *wire) waitOneOf(t *testing.T, addrs []netip.Addr) error {
	got, err := w.askEach(t.Context(), addrs, 300*time.Millisecond)
	if err != nil {
		return err
	}
	return got.exactlyOne(addrs)
}

// waitEvent waits until some Event of this reason says something.
func waitEvent(t *testing.T, reason, text string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 10*time.Second, func() error {
		out, err := herald.Kubectl(t.Context(), "get", "events", "--field-selector", "reason="+reason)
		if err == nil && !strings.Contains(out, text) {
			err = fmt.Errorf("no Event %s says %q:\n%s", reason, text, out)
		}
		return err
	}))
}
