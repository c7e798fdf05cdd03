package bgp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// forgets is a BIRD that takes AdminDown for a failure, and drops what it should keep.
const forgets = "bird-2.0"

// TestReleases takes one session through its life on each release of each router:
// a password, BFD, a drain, a restart of the announcer, its end. What these do in
// detail is tested on the default router alone.
func TestReleases(t *testing.T) {
	for _, part := range append(append([]string{}, netlab.FRRs...), netlab.BIRDs...) {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 2)
			stale := startReleaseOf(t, r.router, part)
			var nodes []*remote
			var tables []plan.Table
			for i, n := range r.nodes {
				s := restarting("10.8.0.1")
				s.PasswordKey = "tor"
				s.HoldTime, s.KeepaliveTime = 90*time.Second, 30*time.Second
				s.BFD = plan.BFD{ReceiveInterval: 300 * time.Millisecond, TransmitInterval: 300 * time.Millisecond, DetectMultiplier: 3}
				tables = append(tables, table(i+1, 64513, []plan.Session{s}, vip4+"/32 1", vip6+"/128 1"))
				nodes = append(nodes, startAnnouncer(t, n))
				nodes[i].tell(order{Passwords: map[string]string{"tor": "secret"}})
				nodes[i].apply(tables[i])
			}
			via := func(limit time.Duration, what string, which ...int) {
				t.Helper()
				for _, vip := range []string{vip4, vip6} {
					netlab.Eventually(t, limit, func() string {
						if got, want := viaOf(fib(r.router, vip)), nodesOf(vip, which); got != want {
							return fmt.Sprintf("%s: %s: the kernel has it via %q, want %q", what, vip, got, want)
						}
						return ""
					})
				}
			}
			via(25*time.Second, "both nodes announce", 1, 2)
			netlab.Eventually(t, 15*time.Second, func() string {
				for i, n := range nodes {
					if p := n.peer("tor"); p.BFD != "Up" || p.State != Established || !p.Restarts {
						return fmt.Sprintf("n%d: %+v", i+1, p)
					}
				}
				return ""
			})

			tables[0].Routes[0].Draining, tables[0].Routes[1].Draining = true, true
			nodes[0].apply(tables[0])
			via(10*time.Second, "n1 drains", 2)
			tables[0].Routes[0].Draining, tables[0].Routes[1].Draining = false, false
			nodes[0].apply(tables[0])
			via(10*time.Second, "n1 drains no more", 1, 2)

			r.sw.Run("ip", "link", "set", "p2", "nomaster") // n1's port; the router's is p1
			via(10*time.Second, "the link of n1 falls silent", 2)
			r.sw.Run("ip", "link", "set", "p2", "master", "br0")
			via(25*time.Second, "the link is back", 1, 2)

			nodes[0].stop() // without a word, as in an upgrade
			if part == forgets {
				via(10*time.Second, "the announcer of n1 has ended", 2)
			} else {
				netlab.Eventually(t, 10*time.Second, stale)
				time.Sleep(2 * time.Second) // twice what BFD takes to find the path dead
				via(0, "the announcer of n1 has ended", 1, 2)
			}
			nodes[0] = startAnnouncer(t, r.nodes[0])
			nodes[0].tell(order{Passwords: map[string]string{"tor": "secret"}})
			nodes[0].apply(tables[0])
			netlab.Eventually(t, 20*time.Second, func() string {
				if p := nodes[0].peer("tor"); p.State != Established {
					return fmt.Sprintf("%+v", p)
				}
				return ""
			})
			wait := time.Duration(0)
			if part == forgets {
				wait = 5 * time.Second
			}
			via(wait, "the next announcer is there", 1, 2)

			// FRR 7.5's zebra loses the second of two changes that bgpd tells it in a tenth
			// of a second: its RIB keeps both next hops.
			time.Sleep(time.Second)
			nodes[0].tell(order{Leave: true})
			nodes[0].stop()
			via(10*time.Second, "n1 leaves", 2)
		})
	}
}

// startReleaseOf starts a router with two neighbors, a password and BFD. The
// function it returns is empty once the router keeps the routes of a neighbor
// that restarts.
func startReleaseOf(t *testing.T, n *netlab.Node, part string) func() string {
	t.Helper()
	says := func(show func(string) string, command, word string) func() string {
		return func() string {
			if out := show(command); !strings.Contains(strings.ToLower(out), word) {
				return fmt.Sprintf("%s does not say %q: %s", command, word, out)
			}
			return ""
		}
	}
	if strings.HasPrefix(part, "frr") {
		conf := strings.Replace(bgpd(64513, "10.8.0.11", "10.8.0.12"), " timers 1 3\n", " timers 30 90\n neighbor N password secret\n neighbor N bfd\n", 1)
		frr := n.FRROf(part, conf)
		frr.StartBFD("")
		return says(frr.Show, "show bgp ipv4 unicast "+vip4+"/32", "stale")
	}
	var conf strings.Builder
	conf.WriteString("router id 10.8.0.1;\nprotocol device {}\nprotocol bfd { interface \"*\" { interval 300 ms; multiplier 3; }; }\n")
	conf.WriteString("filter from_herald { if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }\n")
	for _, f := range []string{"ipv4", "ipv6"} {
		fmt.Fprintf(&conf, "protocol kernel { merge paths on limit 32; %s { import none; export all; }; }\n", f)
	}
	for i := 1; i <= 2; i++ {
		fmt.Fprintf(&conf, "protocol bgp n%d { local as 64512; neighbor 10.8.0.1%[1]d as 64513; password \"secret\"; bfd on; hold time 90; connect retry time 1; error wait time 1, 2;\n"+
			" ipv4 { import filter from_herald; export none; }; ipv6 { import filter from_herald; export none; }; }\n", i)
	}
	bird := n.BIRDOf(part, conf.String())
	return says(bird.Show, "show protocols all n1", "restart")
}

// viaOf are the next hops of a route, without their weights.
func viaOf(route string) string {
	var hops []string
	for _, h := range strings.Fields(route) {
		hop, _, _ := strings.Cut(h, "*")
		hops = append(hops, hop)
	}
	return strings.Join(hops, " ")
}

func nodesOf(vip string, which []int) string {
	prefix := "10.8.0.1"
	if strings.Contains(vip, ":") {
		prefix = "fd08::1"
	}
	var hops []string
	for _, i := range which {
		hops = append(hops, fmt.Sprintf("%s%d", prefix, i))
	}
	return strings.Join(hops, " ")
}
