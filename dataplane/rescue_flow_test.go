package dataplane

import (
	"testing"
	"time"
)

// rescueEvent is something that moves connections from node to node. before are
// the router's weights when they are opened.
type rescueEvent struct {
	what          string
	before, after []int
	do, undo      func(*rescueLab)
}

var rescueEvents = []rescueEvent{
	{"node added", []int{1, 1, 1}, []int{1, 1, 1, 1}, nil, nil},
	{"node added, weights changed", []int{1, 1, 1}, []int{1, 2, 3, 2}, nil, nil},
	{"weights changed", []int{1, 1, 1}, []int{3, 1, 2}, nil, nil},
	{
		"node drained, pods alive",
		[]int{1, 1, 1},
		[]int{0, 1, 1},
		func(l *rescueLab) { l.nodes[0].proxy(false) },
		func(l *rescueLab) { l.nodes[0].proxy(true) },
	},
}

const connections = 200

// families opens as many connections in each.
func (l *rescueLab) families(n int) (v4, v6 []*rescueClient) {
	l.t.Helper()
	v4, v6 = l.open(vip4, n), l.open(vip6, n)
	time.Sleep(400 * time.Millisecond)
	return v4, v6
}

func TestRescue(t *testing.T) {
	l := newRescueLab(t, 0, 0, 0, 0)
	for _, e := range rescueEvents {
		t.Run(e.what, func(t *testing.T) { l.move(t, e) })
	}
	t.Run("node dead", func(t *testing.T) { l.death(t, false, 2500*time.Millisecond, func() {}) })
	t.Run("node dead, and the others know", func(t *testing.T) { l.death(t, true, 1000*time.Millisecond, func() {}) })
	t.Run("one event after the other, then node dead", func(t *testing.T) {
		// Who asks an owner that has died finds out when it does not claim any more.
		l.death(t, false, 2500*time.Millisecond, func() {
			for _, weights := range [][]int{{1, 1, 1, 1}, {1, 2, 3, 2}, {3, 1, 2, 1}, {0, 1, 2, 1}, {1, 1, 1, 1}} {
				l.weights(weights...)
				time.Sleep(700 * time.Millisecond)
			}
		})
	})
	t.Run("conntrack takes up nothing", func(t *testing.T) { l.strict(t) })
	t.Run("uploads", func(t *testing.T) { l.uploads(t, []int{1, 1, 1}, []int{0, 0, 0, 1}) })
	t.Run("ICMP errors", func(t *testing.T) { l.smallPath(t, []int{1, 1, 1}) })
}

// move has an event happen without rescue and with it.
func (l *rescueLab) move(t *testing.T, e rescueEvent) {
	for _, on := range []bool{false, true} {
		l.rescue(on)
		l.weights(e.before...)
		v4, v6 := l.families(connections)
		since := time.Now()
		if e.do != nil {
			e.do(l)
		}
		l.weights(e.after...)
		time.Sleep(map[bool]time.Duration{false: 1300 * time.Millisecond, true: 2500 * time.Millisecond}[on])
		got4, got6 := judge(v4, since), judge(v6, since)
		t.Logf("rescue %t: broken IPv4 %d, IPv6 %d of %d each; %+v", on, got4.broken(), got6.broken(), connections, l.counters())
		if !on && min(got4.broken(), got6.broken()) <= 20 {
			t.Error("without rescue too few are broken, so this shows nothing")
		}
		if n := got4.broken() + got6.broken(); on && n > 0 {
			t.Errorf("%d are broken: IPv4 %+v, IPv6 %+v", n, got4, got6)
		}
		closeAll(v4, v6)
		if e.undo != nil {
			e.undo(l)
		}
	}
}

// TestRescueOverSubnets has two nodes each in two subnets. Strict filters of
// senders are on, as in many hosts.
func TestRescueOverSubnets(t *testing.T) {
	l := newRescueLab(t, 0, 0, 1, 1)
	for _, n := range l.nodes {
		n.Run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1")
	}
	e := rescueEvents[1]
	t.Run(e.what, func(t *testing.T) { l.move(t, e) })
	t.Run("uploads", func(t *testing.T) { l.uploads(t, []int{1, 1}, []int{0, 0, 0, 1}) })
	t.Run("ICMP errors", func(t *testing.T) { l.smallPath(t, []int{1, 1}) })
	for _, n := range l.nodes {
		n.Inside(t, func() {
			if err := NewOverlay(nil).Remove(t.Context(), l.overlay(n)); err != nil {
				t.Error(err)
			}
		})
	}
	l.underlay6 = true
	t.Run(e.what+", overlay over IPv6", func(t *testing.T) { l.move(t, e) })
}

// death opens connections, does something that none may notice, and cuts a node
// off: its connections break, and are told. While the others do not know of the
// death they wait for an answer, however often the rest of them denies.
func (l *rescueLab) death(t *testing.T, known bool, limit time.Duration, before func()) {
	l.rescue(true)
	l.weights(1, 1, 1)
	v4, v6 := l.families(connections)
	both := append(v4, v6...)
	defer closeAll(both)
	before()
	if got := judge(both, time.Now()); got.broken() > 0 {
		t.Errorf("before the death %d are broken: %+v", got.broken(), got)
	}
	own := owned(both, 1)
	since := time.Now()
	l.nodes[0].cut(true)
	defer l.nodes[0].cut(false)
	if known {
		l.gone = 1
		defer func() { l.gone = 0 }()
		for _, n := range l.nodes[1:] {
			n.Inside(t, func() {
				if err := n.rescue.Set(t.Context(), l.spec(n)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	l.weights(0, 1, 1)
	time.Sleep(limit + 500*time.Millisecond)
	got := judge(both, since)
	t.Logf("the dead node had %d of %d: %+v, %+v", own, len(both), got, l.counters())
	if got.broken() != own || got.owners[1] != own {
		t.Errorf("%d are broken, %d were the dead node's", got.broken(), own)
	}
	if got.hang > 0 || got.slowest > limit {
		t.Errorf("%d were told nothing, the last was told after %v, not within %v", got.hang, got.slowest, limit)
	}
	if !known && got.soonest < askingFor {
		t.Errorf("one was told after %v, before the dead node could have answered", got.soonest)
	}
}

// strict has conntrack call packets of unknown connections invalid instead of
// taking them up.
func (l *rescueLab) strict(t *testing.T) {
	loose := func(value string) {
		for _, n := range l.nodes {
			n.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose="+value)
		}
	}
	loose("0")
	defer loose("1")
	for _, on := range []bool{false, true} {
		l.rescue(on)
		l.weights(1, 1, 1)
		v4, v6 := l.families(connections)
		since := time.Now()
		l.weights(1, 2, 3, 2)
		time.Sleep(2 * time.Second)
		got4, got6 := judge(v4, since), judge(v6, since)
		t.Logf("rescue %t: broken IPv4 %d, IPv6 %d, of which %d hang", on, got4.broken(), got6.broken(), got4.hang+got6.hang)
		if n := min(got4.broken(), got6.broken()); !on && n <= 20 {
			t.Errorf("without rescue only %d are broken, so this shows nothing", n)
		}
		if n := got4.broken() + got6.broken(); on && n > 0 {
			t.Errorf("%d are broken: IPv4 %+v, IPv6 %+v", n, got4, got6)
		}
		closeAll(v4, v6)
	}
}

// uploads moves connections and then sends full segments on them.
func (l *rescueLab) uploads(t *testing.T, before, after []int) {
	const size = 32 << 20
	l.rescue(true)
	for _, vip := range []string{vip4, vip6} {
		took := [2]time.Duration{}
		for i, weights := range [][]int{before, after} {
			l.weights(before...)
			c := l.dial(vip, 1)[0]
			if _, err := ask(c, '.'); err != nil {
				t.Fatal(err)
			}
			l.weights(weights...)
			var err error
			if took[i], err = upload(c, size); err != nil {
				t.Errorf("%s, weights %v: %v", vip, weights, err)
			}
		}
		t.Logf("%s: upload of %d MB before a move %v, after it %v", vip, size>>20, took[0], took[1])
	}
}

// smallPath lets no full segment pass to the client. The router's errors reach a
// node that does not know the connection.
func (l *rescueLab) smallPath(t *testing.T, before []int) {
	l.rescue(true)
	l.router.Run("ip", "link", "set", "eth0", "mtu", "1400")
	defer l.router.Run("ip", "link", "set", "eth0", "mtu", "1500")
	last := l.nodes[len(l.nodes)-1]
	for _, f := range []struct{ family, vip string }{{"ip", vip4}, {"ip6", vip6}} {
		for _, on := range []bool{false, true} {
			l.weights(before...)
			c := l.dial(f.vip, 1)[0]
			if _, err := ask(c, '.'); err != nil {
				t.Fatal(err)
			}
			if !on {
				last.Run("nft", "flush chain "+f.family+" herald error; add rule "+f.family+" herald error drop")
			}
			l.weights(0, 0, 0, 1)
			got := download(c, map[bool]time.Duration{false: time.Second, true: 5 * time.Second}[on])
			t.Logf("%s, errors shown to peers %t: %d bytes of %d", f.vip, on, got, downloadLen)
			if on != (got == downloadLen) {
				t.Errorf("%s, errors shown to peers %t: %d bytes of %d", f.vip, on, got, downloadLen)
			}
			last.Inside(t, func() {
				if err := last.rescue.Set(t.Context(), l.spec(last)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
