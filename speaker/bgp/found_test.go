package bgp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
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
	passive, ranged := tor("passive", "10.8.0.9", 64512, ""), tor("range", "10.8.0.9", 64512, "")
	passive.Passive, ranged.Address, ranged.Range = true, netip.Addr{}, netip.MustParsePrefix("10.8.0.64/28")
	n.apply(table(1, 64513, []plan.Session{passive, ranged, tor("tor", "10.8.0.1", 64512, "")}, "198.51.100.10/32 1"))
	wantFIB(t, 15*time.Second, r.router, "198.51.100.10", "10.8.0.11")
	waits := []string{"passive", "range"}
	for _, name := range waits {
		n.saysOf(name, "on port 179: listen tcp4 0.0.0.0:179: bind: address already in use")
	}
	// For longer than a session may stand still.
	netlab.Always(t, stuckAfter+6*time.Second, func() string {
		for _, name := range waits {
			if p := n.peer(name); strings.Contains(p.LastError, "no router has connected") {
				return fmt.Sprintf("%s waits where nothing listens: %+v", name, p)
			}
		}
		return ""
	})
	if log, _ := os.ReadFile(n.Log); strings.Count(string(log), "address already in use") != len(waits) {
		t.Error("the log does not say it once for each session")
	}
	other.Kill()
	for _, name := range waits {
		n.saysOf(name, "reaches port 179 of this node")
	}
}

// TestPortThatCannotBeListenedOn must come with what to write.
func TestPortThatCannotBeListenedOn(t *testing.T) {
	for _, tc := range []struct {
		name string
		port uint16
		err  error
		want string
	}{
		{"without the right", 179, bindError(179, syscall.EACCES), "cannot wait for the peer on port 179: listen tcp4 0.0.0.0:179: bind: permission denied: " +
			"set bgp.listenPort to a port from 1024, such as 1179, and tell the router (FRR: neighbor X port 1179)"},
		{"taken", 1179, bindError(1179, syscall.EADDRINUSE), "cannot wait for the peer on port 1179: listen tcp4 0.0.0.0:1179: bind: address already in use: " +
			"end what holds the port, or set bgp.listenPort to another and tell the router (FRR: neighbor X port 1179)"},
		{"something else", 179, errors.New("odd"), "cannot wait for the peer on port 179: start gobgp: odd"},
	} {
		if got := notHeard(tc.port, fmt.Errorf("start gobgp: %w", tc.err)).Error(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestPort179WithoutTheRight is no reason to close the sessions that need no port.
func TestPort179WithoutTheRight(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	r.router.FRR(bgpd(64513, "10.8.0.11"))
	n := startWithout(t, r.nodes[0], "net_bind_service")
	ranged := tor("range", "10.8.0.9", 64512, "")
	ranged.Address, ranged.Range = netip.Addr{}, netip.MustParsePrefix("10.8.0.64/28")
	n.apply(table(1, 64513, []plan.Session{ranged, tor("tor", "10.8.0.1", 64512, "")}, "198.51.100.10/32 1"))
	wantFIB(t, 15*time.Second, r.router, "198.51.100.10", "10.8.0.11")
	n.saysOf("range", "bind: permission denied: set bgp.listenPort to a port from 1024, such as 1179")
}

func bindError(port int, cause syscall.Errno) error {
	return &net.OpError{Op: "listen", Net: "tcp4", Addr: &net.TCPAddr{IP: net.IPv4zero, Port: port}, Err: os.NewSyscallError("bind", cause)}
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
