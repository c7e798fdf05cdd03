package bgp

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// stale is a route that FRR keeps for a peer that restarts.
var stale = regexp.MustCompile(`(?m)^.?S[*>= ]`)

// restarting is a session with graceful restart.
func restarting(addr string) plan.Session {
	s := tor("tor", addr, 64512, config.NonTransitive)
	s.RestartTime = 10 * time.Second
	return s
}

// TestRestartKeepsRoutes ends an announcer as an upgrade does, and starts another
// one 2 s later. The router's kernel must never lose one of 1,000 routes.
func TestRestartKeepsRoutes(t *testing.T) {
	for _, tc := range []struct {
		name, router string
		bfd          plan.BFD
	}{
		{"IPv4", "10.8.0.1", plan.BFD{}},
		{"IPv6", "fd08::1", plan.BFD{}},
		{"with BFD, which goes down meanwhile", "10.8.0.1", plan.BFD{ReceiveInterval: 100 * time.Millisecond, TransmitInterval: 100 * time.Millisecond, DetectMultiplier: 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 1)
			conf := bgpd(64513, "10.8.0.11", "fd08::11")
			if tc.bfd != (plan.BFD{}) {
				conf = withBFD(conf)
			}
			frr := r.router.FRR(conf)
			frr.StartBFD("bfd\n profile p\n  receive-interval 100\n  transmit-interval 100\n")
			session := restarting(tc.router)
			session.BFD = tc.bfd
			tab := table(1, 64513, []plan.Session{session}, "2001:db8:5::10/128 1")
			for i := range 1000 {
				tab.Routes = append(tab.Routes, plan.Route{Peer: "tor", Prefix: numbered(i), Weight: 1})
			}
			n := startAnnouncer(t, r.nodes[0])
			n.apply(tab)
			all := func() string {
				if got := kernelRoutes(r.router); got != 1000 {
					return fmt.Sprintf("the kernel has %d routes of 1000", got)
				}
				return ""
			}
			netlab.Eventually(t, 20*time.Second, all)
			wantFIB(t, 5*time.Second, r.router, "2001:db8:5::10", "fd08::11")
			watch := r.router.Start("ip", "-4", "monitor", "route")
			netlab.Eventually(t, 10*time.Second, func() string {
				if p := n.peer("tor"); tc.bfd != (plan.BFD{}) && p.BFD != "Up" {
					return fmt.Sprintf("%+v", p)
				}
				return ""
			})
			time.Sleep(300 * time.Millisecond)
			n.stop()
			shows(t, frr, "show bgp ipv4 unicast 10.9.0.7/32", "stale")
			shows(t, frr, "show bgp ipv6 unicast 2001:db8:5::10/128", "stale")
			if !stale.MatchString(frr.Show("show bgp ipv4 unicast")) {
				t.Error("the pattern for stale routes does not match any")
			}
			time.Sleep(2 * time.Second)
			if problem := all(); problem != "" {
				t.Error(problem)
			}
			again := startAnnouncer(t, r.nodes[0])
			again.apply(tab)
			netlab.Eventually(t, 20*time.Second, func() string {
				if p := again.peer("tor"); p.State != Established {
					return fmt.Sprintf("%+v", p)
				}
				if stale.MatchString(frr.Show("show bgp ipv4 unicast")) {
					return "there are stale routes"
				}
				return all()
			})
			time.Sleep(time.Second)
			if problem := all(); problem != "" {
				t.Error(problem)
			}
			if log, _ := os.ReadFile(watch.Log); strings.Contains(string(log), "Deleted 10.9.") {
				t.Errorf("the kernel lost %d routes for a moment", strings.Count(string(log), "Deleted 10.9."))
			}
			// What is not announced again goes.
			t.Logf("withdrawn after %v", timed(func() {
				again.tell(order{Leave: true})
				again.stop()
				netlab.Eventually(t, 5*time.Second, func() string {
					if got := kernelRoutes(r.router); got != 0 {
						return fmt.Sprintf("after it has left there are still %d routes", got)
					}
					return ""
				})
			}))
		})
	}
}

// TestAnAbsentRouter has a restarting node wait for it, and not for long.
func TestAnAbsentRouter(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	r.router.FRR(bgpd(64513, "10.8.0.11"))
	absent := restarting("10.8.0.9")
	absent.Name = "absent"
	n := startAnnouncer(t, r.nodes[0])
	took := timed(func() {
		n.apply(table(1, 64513, []plan.Session{absent, restarting("10.8.0.1")}, "198.51.100.10/32 1"))
		wantFIB(t, 15*time.Second, r.router, "198.51.100.10", "10.8.0.11")
	})
	t.Logf("route in the kernel after %v", took)
	if took > 8*time.Second {
		t.Error("that is too long")
	}
}

// TestRestartKeepsRoutesOfBIRD is the same with a router that deletes the stale
// routes as soon as a session comes up that does not say that it forwarded all
// the time (RFC 4724 section 4.2).
func TestRestartKeepsRoutesOfBIRD(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	bird := r.router.BIRD(birdConf("10.8.0.11", 64513, "import all;"))
	tab := table(1, 64513, []plan.Session{restarting("10.8.0.1")}, "2001:db8:5::10/128 1")
	for i := range 1000 {
		tab.Routes = append(tab.Routes, plan.Route{Peer: "tor", Prefix: numbered(i), Weight: 1})
	}
	n := startAnnouncer(t, r.nodes[0])
	n.apply(tab)
	all := func() string {
		if got := kernelRoutes(r.router); got != 1000 {
			return fmt.Sprintf("the kernel has %d routes of 1000", got)
		}
		return ""
	}
	netlab.Eventually(t, 20*time.Second, all)
	watch := r.router.Start("ip", "-4", "monitor", "route")
	time.Sleep(300 * time.Millisecond)
	n.stop()
	time.Sleep(2 * time.Second)
	if problem := all(); problem != "" {
		t.Error(problem)
	}
	again := startAnnouncer(t, r.nodes[0])
	again.apply(tab)
	netlab.Eventually(t, 20*time.Second, func() string {
		if p := again.peer("tor"); p.State != Established {
			return fmt.Sprintf("%+v", p)
		}
		return all()
	})
	time.Sleep(time.Second)
	if log, _ := os.ReadFile(watch.Log); strings.Contains(string(log), "Deleted 10.9.") {
		t.Errorf("the kernel lost %d routes for a moment:\n%s", strings.Count(string(log), "Deleted 10.9."), bird.Show("show protocols all n1"))
	}
}

// birdConf is a BIRD in AS 64512 that installs what one neighbor announces.
func birdConf(neighbor string, asn int, imports string) string {
	return fmt.Sprintf(`
router id 10.8.0.1;
protocol device {}
protocol kernel k4 { merge paths on limit 32; ipv4 { import none; export all; }; }
protocol kernel k6 { merge paths on limit 32; ipv6 { import none; export all; }; }
protocol bgp n1 {
	local as 64512;
	neighbor %s as %d;
	hold time 3;
	connect retry time 1;
	ipv4 { %s export none; };
	ipv6 { %s export none; };
}`, neighbor, asn, imports, imports)
}

// kernelRoutes counts the routes within 10.9.0.0/16.
func kernelRoutes(n *netlab.Node) int {
	out, _ := n.Try("ip", "-4", "route", "show", "root", "10.9.0.0/16")
	return strings.Count(out, "10.9.")
}
