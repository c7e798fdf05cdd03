package layer2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

// thousand is a pool of exactly 1,000 addresses, so that all runs of the test
// have the same ones. The IPv4 part is outside the nodes' subnet, which has no
// room for it.
const thousand = `- name: thousand
  ranges: [10.77.4.0-10.77.5.243, "fd77::4:0-fd77::4:1f3"]
  autoAssign: false
  announce: [l2]
  interfaces: [eth0]
`

// configure adds to the configuration for the time of the test.
func configure(t *testing.T, more string) {
	t.Helper()
	t.Cleanup(func() { must(t, herald.Configure(context.Background(), stage.Layer2Config)) })
	must(t, herald.Configure(t.Context(), stage.Layer2Config+more))
}

// many creates n Services like v, with addresses of a pool, which go with the
// test.
func many(t *testing.T, n int, v stage.Service, pool string) []netip.Addr {
	t.Helper()
	v.Annotations = map[string]string{"heraldlb.io/address-pool": pool}
	t.Cleanup(func() { must(t, herald.DeleteMany(context.Background(), n, v.Name)) })
	addrs, err := herald.CreateMany(t.Context(), n, v)
	must(t, err)
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// Most of the Services are unproxied: kube-proxy's rules for 500 of them, on three
// nodes that share a machine, would take most of the time of the test.
func TestAThousandAddresses(t *testing.T) {
	begin(t)
	configure(t, thousand)
	must(t, herald.RunPods(t.Context(), "many", map[string]int{"n1": 1, "n2": 1, "n3": 2}))
	w := openWire(t)
	begun := time.Now()
	served := many(t, 5, stage.Service{Name: "served", App: "many"}, "thousand")
	addrs := slices.Concat(served, many(t, 495, stage.Service{Name: "many", Unproxied: true}, "thousand"))
	if len(addrs) != 1000 {
		t.Fatalf("%d addresses, want 1,000", len(addrs))
	}
	t.Logf("500 Services had their 1,000 addresses %.1f s after the first creation", time.Since(begun).Seconds())
	before := w.waitOwners(t, addrs)
	t.Logf("all answered by exactly one node after %.1f s: %v", time.Since(begun).Seconds(), before.count())
	for node, ideal := range map[string]int{"n1": 250, "n2": 250, "n3": 500} {
		if n := before.count()[node]; n < ideal*85/100 || n > ideal*115/100 {
			t.Errorf("%s owns %d addresses, want %d by its weight, or 15 %% more or less", node, n, ideal)
		}
	}
	t.Run("10,000 requests a second for others", func(t *testing.T) { floodForOthers(t, w, addrs, served[len(served)-1]) })
	t.Run("a node loses its power", func(t *testing.T) { powerLoss(t, w, addrs, before) })
}

// powerLoss takes n1's power away and gives it back.
func powerLoss(t *testing.T, w *wire, addrs []netip.Addr, before owners) {
	const dead = "n1"
	begun := time.Now()
	off := make(chan error, 1)
	go func() { off <- herald.PowerOff(t.Context(), dead) }()
	last := untilAnswered(t, w, ownedBy(before, dead), dead)
	t.Logf("all of the %d addresses of %s answered by others %.2f s after its power was cut", before.count()[dead], dead, last.Sub(begun).Seconds())
	must(t, <-off)
	after := w.waitOwners(t, addrs, "n2", "n3")
	t.Logf("then: %v", after.count())
	moved(t, addrs, before, after, dead)

	heard := listen(t)
	begun = time.Now()
	must(t, herald.PowerOn(t.Context(), dead))
	must(t, herald.WaitReplicas(t.Context()))
	must(t, herald.WaitPods(t.Context(), 60*time.Second, "many-"+dead+"-0"))
	returns(t, w, addrs, before)
	back := w.waitOwners(t, addrs)
	moved(t, addrs, before, back, "")
	time.Sleep(5 * time.Second) // until the last announcement of a burst
	t.Logf("announcements on the segment meanwhile: %s", heard())
	t.Logf("exactly one answers for each again, and the one from before, %.1f s after the power was back: %v", time.Since(begun).Seconds(), back.count())
}

// listen counts the announcements on the segment, from now until it is asked.
func listen(t *testing.T) (heard func() string) {
	t.Helper()
	const slot = 100 * time.Millisecond
	w, begun := openWire(t), time.Now()
	stop, counts := make(chan struct{}), make(chan map[time.Duration]int)
	go func() {
		n := map[time.Duration]int{}
		for {
			for _, h := range w.hear() {
				if !h.ours {
					n[time.Since(begun)/slot]++
				}
			}
			select {
			case <-stop:
				counts <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() string {
		close(stop)
		n, sum, most := <-counts, 0, 0
		for _, c := range n {
			sum, most = sum+c, max(most, c)
		}
		return fmt.Sprintf("%d in %d slots of %s, at most %d in one", sum, len(n), slot, most)
	}
}

// ownedBy are the addresses that a node answers for, sorted.
func ownedBy(o owners, node string) []netip.Addr {
	var out []netip.Addr
	for a, nodes := range o {
		if slices.Contains(nodes, node) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// untilAnswered asks until a node other than the dead one has answered for each
// address, and returns when the last of them did.
func untilAnswered(t *testing.T, w *wire, addrs []netip.Addr, dead string) (last time.Time) {
	t.Helper()
	left := slices.Clone(addrs)
	must(t, stage.Wait(t.Context(), 20*time.Second, func() error {
		got, err := w.askEach(t.Context(), left, 20*time.Millisecond)
		last = time.Now()
		left = slices.DeleteFunc(left, func(a netip.Addr) bool { return len(got[a]) > 0 && got[a][0] != dead })
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("nobody answers for %d of %d addresses, such as %s", len(left), len(addrs), left[0])
		}
		return err
	}))
	return last
}

// moved checks that no address but those of the dead node have another owner.
func moved(t *testing.T, addrs []netip.Addr, before, after owners, dead string) {
	t.Helper()
	n := 0
	for _, a := range addrs {
		if was := before[a][0]; was != dead && after[a][0] != was {
			n++
			t.Logf("%s moved from %s to %s", a, was, after[a][0])
		}
	}
	if n > 0 {
		t.Errorf("%d addresses of living nodes have moved", n)
	}
}
