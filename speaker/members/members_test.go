package members

import (
	"slices"
	"testing"
	"time"
)

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func TestJoinLeaveAndDeath(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.allSeeAll(5 * time.Second)

	began := time.Now()
	c.procs[2].do("leave")
	for _, p := range c.procs[:2] {
		if took := p.await(3*time.Second, began, "n3 gone", without("n3")); took > 100*time.Millisecond {
			t.Errorf("%s knew of the leave after %v, not within 100ms", p.spec.Node, took)
		}
	}
	if !c.procs[2].Wait(2 * time.Second) {
		t.Error("Run did not end after Leave")
	}
	for _, e := range c.procs[2].history() {
		if !with("n3")(e) {
			t.Error("n3 did not count itself alive to the end")
		}
	}

	began = time.Now()
	c.start(2)
	for _, p := range c.procs[:2] {
		t.Logf("%s saw n3 back after %v", p.spec.Node, p.await(3*time.Second, began, "n3 back", with("n3")))
	}
	c.allSeeAll(3 * time.Second)
}

func TestDeathIsKnownWithinASecond(t *testing.T) {
	c := newCluster(t, 3, nil)
	var killed, cut []time.Duration
	for round := range 5 {
		c.allSeeAll(5 * time.Second)
		began := time.Now()
		c.procs[2].Kill()
		for _, p := range c.procs[:2] {
			killed = append(killed, p.await(5*time.Second, began, "n3 dead", without("n3")))
		}
		c.start(2)
		c.allSeeAll(5 * time.Second)
		if round > 2 {
			continue
		}
		began = time.Now()
		c.cut(2)
		for _, p := range c.procs[:2] {
			cut = append(cut, p.await(5*time.Second, began, "n3 cut off", without("n3")))
		}
		began = time.Now()
		c.plug(2)
		for _, p := range c.procs[:2] {
			t.Logf("%s saw n3 healed after %v", p.spec.Node, p.await(5*time.Second, began, "n3 healed", with("n3")))
		}
	}
	t.Logf("kill -9: median %v of %v", median(killed), killed)
	t.Logf("cut off: median %v of %v", median(cut), cut)
	for what, all := range map[string][]time.Duration{"kill -9": killed, "cut off": cut} {
		if m := median(all); m > time.Second {
			t.Errorf("%s: known after a median of %v", what, m)
		}
	}
}
