package bgp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// withBFD is bgpd's configuration with a BFD profile for all neighbors.
func withBFD(conf string) string {
	return strings.Replace(conf, " neighbor N timers 1 3\n", " neighbor N timers 30 90\n neighbor N bfd\n neighbor N bfd profile p\n", 1)
}

// TestBFD cuts the link without a sign of it on either side, again and again.
// The hold time would take 90 s to notice.
func TestBFD(t *testing.T) {
	for _, tc := range []struct {
		router, node string
		interval     time.Duration
		limit        time.Duration // for the median; the machine may be busy
	}{
		{"10.8.0.1", "10.8.0.11", 300 * time.Millisecond, 1500 * time.Millisecond},
		{"fd08::1", "fd08::11", 300 * time.Millisecond, 1500 * time.Millisecond},
		{"10.8.0.1", "10.8.0.11", 50 * time.Millisecond, time.Second},
		{"fd08::1", "fd08::11", 50 * time.Millisecond, time.Second},
	} {
		t.Run(fmt.Sprintf("%s %vx3", tc.router, tc.interval), func(t *testing.T) {
			if tc.interval > 100*time.Millisecond {
				t.Parallel() // the others need the machine
			}
			r := newRack(t, 1)
			frr := r.router.FRROf(netlab.BFDRouter, withBFD(bgpd(64513, tc.node)))
			ms := tc.interval.Milliseconds()
			frr.StartBFD(fmt.Sprintf("bfd\n profile p\n  receive-interval %d\n  transmit-interval %d\n  detect-multiplier 3\n", ms, ms))
			n := startAnnouncer(t, r.nodes[0])
			s := tor("tor", tc.router, 64512, config.NonTransitive)
			s.HoldTime, s.KeepaliveTime = 90*time.Second, 30*time.Second
			s.BFD = plan.BFD{ReceiveInterval: tc.interval, TransmitInterval: tc.interval, DetectMultiplier: 3}
			tab := table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1")
			t.Logf("route in the kernel %v after the first Apply", timed(func() {
				n.apply(tab)
				wantFIB(t, 10*time.Second, r.router, "198.51.100.10", viaNode)
			}))
			bfdUp := func() string {
				if p := n.peer("tor"); p.BFD != "Up" || p.State != Established {
					return fmt.Sprintf("%+v", p)
				}
				return ""
			}
			netlab.Eventually(t, 10*time.Second, bfdUp)
			// Neither side takes the start of BFD for a failure.
			netlab.Always(t, 3*time.Second, bfdUp)
			if p := n.peer("tor"); p.LastError != "" {
				t.Errorf("the session has flapped at its start: %+v", p)
			}
			var outages, returns []time.Duration
			for range 3 {
				r.sw.Run("ip", "link", "set", "p2", "nomaster")
				outages = append(outages, timed(func() { wantFIB(t, 10*time.Second, r.router, "198.51.100.10", "") }))
				n.saysOf("tor", "BFD down")
				time.Sleep(time.Second)
				r.sw.Run("ip", "link", "set", "p2", "master", "br0")
				returns = append(returns, timed(func() { wantFIB(t, 15*time.Second, r.router, "198.51.100.10", viaNode) }))
				netlab.Eventually(t, 10*time.Second, bfdUp)
			}
			slices.Sort(outages)
			slices.Sort(returns)
			t.Logf("route gone after %v, back after %v", outages, returns)
			if outages[1] > tc.limit || returns[1] > 4*time.Second {
				t.Errorf("the median is above %v, or above 4s", tc.limit)
			}
		})
	}
}

const viaNode = "10.8.0.11"
