package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// TestWaitingSessions are those that the router opens.
func TestWaitingSessions(t *testing.T) {
	const port = 1790
	for _, tc := range []struct {
		name     string
		neighbor string // of FRR, besides its address
		with     func(*plan.Session)
		peer     string // how the session is called then
	}{
		{"passive", "", func(*plan.Session) {}, "tor"},
		{"passive with a password", "password right", func(s *plan.Session) { s.PasswordKey = "right" }, "tor"},
		{"passive with TTL security", "ttl-security hops 1", func(s *plan.Session) { s.TTLSecurity = 1 }, "tor"},
		{"range", "", inRange, "tor 10.8.0.1"},
		{"range with a password", "password right", func(s *plan.Session) { inRange(s); s.PasswordKey = "right" }, "tor 10.8.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 1)
			n := startAnnouncer(t, r.nodes[0])
			n.tell(order{Passwords: map[string]string{"right": "right"}})
			s := tor("tor", "10.8.0.1", 64512, config.NonTransitive)
			s.Passive = true
			tc.with(&s)
			tab := table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1", "2001:db8:5::10/128 1")
			tab.ListenPort = port
			n.apply(tab)
			n.saysOf("tor", "no router has connected from 10.8.0.")
			conf := bgpd(64513, "10.8.0.11")
			conf = strings.Replace(conf, " neighbor 10.8.0.11 peer-group N\n", fmt.Sprintf(" neighbor 10.8.0.11 peer-group N\n neighbor 10.8.0.11 port %d\n", port), 1)
			if tc.neighbor != "" {
				conf = strings.Replace(conf, " address-family", " neighbor 10.8.0.11 "+tc.neighbor+"\n address-family", 1)
			}
			frr := r.router.FRR(conf)
			wantFIB(t, 20*time.Second, r.router, "198.51.100.10", "10.8.0.11")
			wantFIB(t, 5*time.Second, r.router, "2001:db8:5::10", "fd08::11")
			if all := n.peers(); len(all) != 1 || all[0].Name != tc.peer || all[0].State != Established {
				t.Errorf("the sessions are %+v", all)
			}
			frr.BGP.Kill()
			time.Sleep(time.Second)
			frr.StartBGP()
			netlab.Eventually(t, 20*time.Second, func() string {
				if p := n.peer(tc.peer); p.State != Established {
					return fmt.Sprintf("after a restart of the router: %+v", p)
				}
				return ""
			})
			// Without such a session nothing listens.
			tab.Sessions = []plan.Session{tor("other", "10.8.0.9", 64512, "")}
			tab.Routes = nil
			n.apply(tab)
			if out := r.nodes[0].Run("ss", "-Htln"); strings.Contains(out, fmt.Sprint(port)) {
				t.Errorf("it still listens: %s", out)
			}
		})
	}
}

func inRange(s *plan.Session) {
	s.Address, s.Range = netip.Addr{}, netip.MustParsePrefix("10.8.0.0/28")
}

// TestWrongPasswordOfAWaitingSession is refused by the kernel.
func TestWrongPasswordOfAWaitingSession(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	n := startAnnouncer(t, r.nodes[0])
	n.tell(order{Passwords: map[string]string{"tor": "right"}})
	s := tor("tor", "10.8.0.1", 64512, "")
	s.Passive, s.PasswordKey = true, "tor"
	n.apply(table(1, 64513, []plan.Session{s}))
	r.router.FRR(bgpd(64513, "10.8.0.11"))
	n.saysOf("tor", "with the password if there is one")
	netlab.Always(t, 3*time.Second, func() string {
		if p := n.peer("tor"); p.State == Established {
			return "a router without the password has a session"
		}
		return ""
	})
}

// TestPasswordThatIsGone must not lock the router out.
func TestPasswordThatIsGone(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	n := startAnnouncer(t, r.nodes[0])
	n.tell(order{Passwords: map[string]string{"tor": "right"}})
	s := tor("tor", "10.8.0.1", 64512, "")
	s.Passive, s.PasswordKey = true, "tor"
	n.apply(table(1, 64513, []plan.Session{s}))
	frr := r.router.FRR(strings.Replace(bgpd(64513, "10.8.0.11"), " address-family", " neighbor 10.8.0.11 password right\n address-family", 1))
	up := func() string {
		if p := n.peer("tor"); p.State != Established {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	}
	netlab.Eventually(t, 15*time.Second, up)
	s.PasswordKey = ""
	n.apply(table(1, 64513, []plan.Session{s}))
	frr.Configure("router bgp 64512", "no neighbor 10.8.0.11 password")
	netlab.Eventually(t, 20*time.Second, up)
}

// TestTakenPort is no reason to close the sessions that need no port.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	r.router.FRR(bgpd(64513, "10.8.0.11"))
	other := r.nodes[0].BIRD("router id 10.8.0.77; protocol device {} protocol bgp { local as 1; neighbor 10.8.0.78 as 2; }")
	n := startAnnouncer(t, r.nodes[0])
	s := tor("passive", "10.8.0.9", 64512, "")
	s.Passive = true
	n.apply(table(1, 64513, []plan.Session{s, tor("tor", "10.8.0.1", 64512, "")}, "198.51.100.10/32 1"))
	wantFIB(t, 15*time.Second, r.router, "198.51.100.10", "10.8.0.11")
	n.saysOf("passive", "address already in use")
	other.Kill()
	n.saysOf("passive", "no router has connected")
}

// TestUnnumberedSession finds its router by the link alone.
func TestUnnumberedSession(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	node, router := lab.Node("n1"), lab.Node("r")
	lab.Pair(node, "eth0", router, "eth0")
	n := startAnnouncer(t, node)
	s := tor("tor", "10.8.0.1", 64512, config.NonTransitive)
	s.Address, s.Interface = netip.Addr{}, "eth0"
	tab := table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1", "2001:db8:5::10/128 1")
	n.apply(tab)
	n.saysOf("tor", "no router has advertised itself on eth0")
	router.FRR(`router bgp 64512
 bgp router-id 10.8.0.1
 no bgp ebgp-requires-policy
 neighbor eth0 interface remote-as 64513
 neighbor eth0 timers 1 3
 address-family ipv6 unicast
  neighbor eth0 activate
 exit-address-family
`)
	own := linkLocal(t, node).String()
	wantFIB(t, 25*time.Second, router, "198.51.100.10", own)
	wantFIB(t, 5*time.Second, router, "2001:db8:5::10", own)
	if p := n.peer("tor"); p.Address != linkLocal(t, router).WithZone("eth0") {
		t.Errorf("%+v", p)
	}
}
