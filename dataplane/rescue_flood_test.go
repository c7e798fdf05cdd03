package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRescueBogus measures what a packet of no connection costs a node and those
// whom it asks, beyond what it costs to drop it at the node's door.
func TestRescueBogus(t *testing.T) {
	l := newRescueLab(t, 0, 0, 0, 0)
	node := l.nodes[3]
	in := node.bogus(t, 100, 0)
	const packets, turns = askLimit / 2, 9
	var pod, asked, past []float64
	for range turns {
		node.rescued(l, false)
		node.Run("nft", dropAll)
		door := in.cost(t, packets)
		node.Run("nft", "delete table netdev bench")
		pod = append(pod, in.cost(t, packets)-door)
		l.rescue(true)
		question := in.cost(t, packets) - door
		_ = in.cost(t, packets) // the rest of what the limit lets pass at once
		before := l.counters().Asked
		both := in.cost(t, 5*packets) - door
		share := float64(l.counters().Asked-before) / (5 * packets)
		asked, past = append(asked, question), append(past, (both-share*question)/(1-share))
	}
	for what, c := range map[string][]float64{"without rescue, reset by a pod": pod, "about which peers are asked": asked, "past the limit": past} {
		slices.Sort(c)
		t.Logf("a packet %s: %.0f ns (%.0f to %.0f)", what, c[turns/2], c[0], c[turns-1])
	}
	if past[turns/2] > pod[turns/2] {
		t.Error("a flood costs the node more than without rescue")
	}
}

// TestRescueUnderFlood has a node get packets of no connection, while some
// connections go on that moved to it before, others move to it, and new ones come.
func TestRescueUnderFlood(t *testing.T) {
	const rate = 200_000
	l := newRescueLab(t, 0, 0, 0, 0)
	l.router.Run("ip", "route", "add", "blackhole", "10.50.0.0/16")
	target := l.nodes[3]
	ceiling := l.ceiling(t, target)
	l.rescue(true)
	l.weights(1, 1, 1)
	alone := l.strangers(50)
	v4, v6 := l.families(100)
	all := slices.Concat(v4, v6, alone)
	defer closeAll(all)
	l.weights(1, 1, 1, 1)
	time.Sleep(500 * time.Millisecond)

	before, began := l.counters(), time.Now()
	f := &flood{target: target, rate: rate}
	stop := f.start(t)
	time.Sleep(2 * time.Second)
	unbroken(t, "moved before the flood", all, began)
	l.weights(0, 0, 0, 1)
	moved := time.Now()
	l.newcomers(t, target)
	time.Sleep(time.Until(moved.Add(askedFor - time.Second)))
	for _, g := range []struct {
		what  string
		of    []*rescueClient
		limit time.Duration
	}{{"100 connections of one client", v4, 3 * time.Second}, {"100 over IPv6", v6, 3 * time.Second}, {"50 of a client each", alone, time.Hour}} {
		median, most, still := silences(g.of)
		t.Logf("%s: silent for %v at most in the median, %v at most; still silent %d", g.what, median, most, still)
		if most > g.limit {
			t.Errorf("%s: that is more than %v", g.what, g.limit)
		}
	}
	stop()
	known, after := target.elements("asked"), l.counters()
	// Who is still silent sends again 63 times its least timeout after the move.
	for end := moved.Add(20 * time.Second); time.Now().Before(end) && judge(all, began).hang > 0; {
		time.Sleep(100 * time.Millisecond)
	}
	unbroken(t, "moved in the flood", all, began)

	asked := after.Asked - before.Asked
	t.Logf("%d bogus packets in %v, %.0f a second (%s): %d questions, %.3f copies and as many denials a packet, %d limited, %d given up, %d claims, %d flows remembered",
		f.sent, f.took.Round(time.Millisecond), f.perSecond(), ceiling, asked, float64(asked)*float64(len(l.nodes)-1)/float64(f.sent),
		after.Limited-before.Limited, after.GivenUp-before.GivenUp, after.Claimed-before.Claimed, known)
	const perSecond = askLimit + clientLimit
	if bound := perSecond * (f.took.Seconds() + 1.2); float64(asked) > bound {
		t.Errorf("%d questions, more than %.0f", asked, bound)
	}
	if bound := perSecond * (askedFor.Seconds() + 1); known < askLimit || float64(known) > min(bound, flowSize) {
		t.Errorf("%d flows are remembered, not %d to %.0f", known, askLimit, bound)
	}
	switch got := f.perSecond(); {
	case got < 4*perSecond:
		t.Error("that is no flood")
	case got < rate*95/100:
		t.Logf("other work on this machine has kept it from %d a second", rate)
	}
}

func unbroken(t *testing.T, what string, clients []*rescueClient, since time.Time) {
	t.Helper()
	if got := judge(clients, since); got.broken() > 0 {
		t.Errorf("of %d connections that %s %d are broken: %+v", len(clients), what, got.broken(), got)
	}
}

// newcomers opens connections to a node, one after the other.
func (l *rescueLab) newcomers(t *testing.T, n *rescueNode) {
	t.Helper()
	var took []time.Duration
	for i := range 100 {
		began := time.Now()
		c := l.dial([]string{vip4, vip6}[i%2], 1)[0]
		if who, err := ask(c, '.'); err != nil || int(who) != n.number {
			t.Errorf("a new connection got an answer from node %d: %v", who, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("100 new connections: answered after %v in the median, %v at most", took[50].Round(time.Microsecond), took[99].Round(time.Microsecond))
}

// elements counts those of a set for IPv4.
func (n *rescueNode) elements(set string) int {
	return strings.Count(n.Run("nft", "list set ip herald "+set), "expires")
}

// ceiling tells how many packets a second go.
func (l *rescueLab) ceiling(t *testing.T, n *rescueNode) string {
	n.Run("nft", dropAll)
	door := (&flood{target: n}).lasts(t, time.Second)
	n.Run("nft", "delete table netdev bench")
	without := (&flood{target: n}).lasts(t, time.Second)
	l.rescue(true)
	with := (&flood{target: n}).lasts(t, time.Second)
	return fmt.Sprintf("at most %.0f; %.0f if dropped at the door, %.0f without rescue", with.perSecond(), door.perSecond(), without.perSecond())
}

// strangers opens one connection each from addresses of different networks.
func (l *rescueLab) strangers(n int) (out []*rescueClient) {
	l.t.Helper()
	l.router.Run("ip", "route", "add", "10.2.0.0/16", "via", "10.1.0.2")
	for i := range n {
		l.client.Addr("eth0", fmt.Sprintf("10.2.%d.1/32", i))
	}
	l.client.Inside(l.t, func() {
		for i := range n {
			from := addrOf(fmt.Sprintf("10.2.%d.1", i))
			d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 20000))}
			c, err := d.Dial("tcp", netip.AddrPortFrom(addrOf(vip4), 80).String())
			if err != nil {
				l.t.Error(err)
				return
			}
			out = append(out, &rescueClient{conn: c, lastOK: time.Now()})
		}
	})
	for i, c := range out {
		go c.run(time.Duration(i) * 100 * time.Millisecond / time.Duration(n))
	}
	return out
}

// silences tells for how long connections were silent at most, and how many are so
// still.
func silences(clients []*rescueClient) (median, most time.Duration, still int) {
	var all []time.Duration
	for _, c := range clients {
		c.mu.Lock()
		now := time.Since(c.lastOK)
		all = append(all, max(c.silent, now).Round(time.Millisecond))
		c.mu.Unlock()
		if now > time.Second {
			still++
		}
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1], still
}
