package l2

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

// told waits until an announcer has told of an address what ok wants to hear.
func told(t *testing.T, r *remote, addr, what string, ok func(Conflict) bool) {
	t.Helper()
	took := netlab.Eventually(t, 12*time.Second, func() string {
		all := r.tell(order{}).Conflicts
		if !slices.ContainsFunc(all, func(c Conflict) bool { return c.Addr.String() == addr && ok(c) }) {
			return fmt.Sprintf("%s: not told of %s: %+v", addr, what, all)
		}
		return ""
	})
	t.Logf("%s: %s told after %v", addr, what, took.Round(100*time.Millisecond))
}

// TestTwoOwners has two nodes claim the same, as they do when their gossip is
// parted and the segment is not. Both must tell; when one gives up the other
// corrects the client.
func TestTwoOwners(t *testing.T) {
	for _, peers := range []bool{true, false} {
		t.Run(fmt.Sprintf("MACs of peers known %v", peers), func(t *testing.T) {
			t.Parallel()
			twoOwners(t, peers)
		})
	}
}

func twoOwners(t *testing.T, peers bool) {
	lab, sw, client := segment(t)
	n1, n2 := server(t, lab, sw, 1), server(t, lab, sw, 2)
	first, second := startAnnouncer(t, n1, peers), startAnnouncer(t, n2, peers)
	peer1, peer2 := "", ""
	if peers {
		peer1, peer2 = "n1", "n2"
		both := map[string]string{macOf(n1, "eth0"): "n1", macOf(n2, "eth0"): "n2"}
		first.tell(order{Peers: both})
		second.tell(order{Peers: both})
	}
	first.claim(addrs(vips...)...)
	time.Sleep(500 * time.Millisecond)
	second.claim(addrs(vips...)...)
	for _, vip := range vips {
		ask(dial(t, client, vip), time.Second) // the client has an entry, be it whose it may
		told(t, first, vip, "the second owner", func(c Conflict) bool {
			return !c.Resolved && c.MAC.String() == macOf(n2, "eth0") && c.Peer == peer2 && c.Link == "eth0"
		})
		told(t, second, vip, "the first owner", func(c Conflict) bool {
			return !c.Resolved && c.MAC.String() == macOf(n1, "eth0") && c.Peer == peer1
		})
	}
	if s := first.stats("eth0"); s.Rivals != 2 {
		t.Errorf("%d addresses are contested, want 2", s.Rivals)
	}
	second.claim()
	for _, vip := range vips {
		told(t, first, vip, "the end", func(c Conflict) bool { return c.Resolved })
		told(t, second, vip, "the end", func(c Conflict) bool { return c.Resolved })
		netlab.Eventually(t, 3*time.Second, func() string {
			if got, _ := neighbourOf(client, vip); got != macOf(n1, "eth0") {
				return fmt.Sprintf("the client has %s at %s", vip, got)
			}
			return ""
		})
	}
	if s := first.stats("eth0"); s.Rivals != 0 {
		t.Errorf("%d addresses are contested, want none", s.Rivals)
	}
	if n := len(first.tell(order{}).Conflicts); n != 4 {
		t.Errorf("told %d times, want beginning and end for two addresses", n)
	}
}

// TestStranger has somebody who is no node of ours claim our addresses, once and
// then without pause. The client's cache must come back each time, and the
// defence must not become a war.
func TestStranger(t *testing.T) {
	t.Parallel()
	lab, sw, client := segment(t)
	n1 := server(t, lab, sw, 1)
	a := startAnnouncer(t, n1, true)
	a.claim(addrs(vips...)...)
	for _, vip := range vips {
		ask(dial(t, client, vip), time.Second)
	}
	time.Sleep(4500 * time.Millisecond) // the burst is over
	villain := lab.Node("villain")
	sw.Attach(villain, "eth0", "192.0.2.66/24", "2001:db8::66/64")
	mine := macOf(villain, "eth0")
	for _, vip := range vips {
		w := openWire(t, villain, "eth0", protocolOf(vip))
		w.send(announcement(w.mac, addrs(vip)[0]))
		told(t, a, vip, "the stranger", func(c Conflict) bool { return !c.Resolved && c.MAC.String() == mine && c.Peer == "" })
		netlab.Eventually(t, 2*time.Second, func() string {
			if got, _ := neighbourOf(client, vip); got != macOf(n1, "eth0") {
				return fmt.Sprintf("the client has %s at %s", vip, got)
			}
			return ""
		})
		told(t, a, vip, "the end", func(c Conflict) bool { return c.Resolved })
	}
	before := a.stats("eth0")
	w := openWire(t, villain, "eth0", unix.ETH_P_ARP)
	for range 2000 {
		w.send(announcement(w.mac, vip4))
		time.Sleep(time.Millisecond)
	}
	after := a.stats("eth0")
	if n := after.ARP.Announcements - before.ARP.Announcements; n > 2 {
		t.Errorf("%d announcements against 2,000 of a stranger's", n)
	}
	if n := after.ARP.Foreign - before.ARP.Foreign; n < 1900 {
		t.Errorf("%d of 2,000 were counted", n)
	}
	if n := len(a.tell(order{}).Conflicts); n > 5 {
		t.Errorf("told %d times", n)
	}
}

// TestBound claims an address that the node itself has.
func TestBound(t *testing.T) {
	lab, sw, _ := segment(t)
	node := server(t, lab, sw, 1)
	node.Run("ip", "addr", "add", "192.0.2.200/32", "dev", "lo")
	a := startAnnouncer(t, node, false)
	a.claim(addrs(vips...)...)
	got := a.tell(order{}).Conflicts
	if len(got) != 1 || !got[0].Bound || got[0].Resolved || got[0].Link != "lo" || got[0].Addr != vip4 {
		t.Fatalf("told %+v", got)
	}
	a.claim(addrs(vips...)...)
	if got := a.tell(order{}).Conflicts; len(got) != 1 {
		t.Errorf("told again: %+v", got)
	}
	node.Run("ip", "addr", "del", "192.0.2.200/32", "dev", "lo")
	a.claim(addrs(vips...)...)
	if got := a.tell(order{}).Conflicts; len(got) != 2 || !got[1].Resolved {
		t.Errorf("not told that it is over: %+v", got)
	}
}

// An operator compares the MAC in the log with what the switch shows.
func TestAConflictIsLoggedLegibly(t *testing.T) {
	for _, resolved := range []bool{false, true} {
		var log strings.Builder
		a, err := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		newLoop(a).report(Conflict{Addr: netip.MustParseAddr("192.0.2.1"), Link: "eth0", MAC: mustMAC("02:00:0a:4d:00:0b"), Resolved: resolved})
		if !strings.Contains(log.String(), "mac=02:00:0a:4d:00:0b") {
			t.Errorf("logged %s", log.String())
		}
	}
}
