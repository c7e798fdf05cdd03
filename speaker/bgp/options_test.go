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

const (
	showRoute    = "show bgp ipv4 unicast 198.51.100.10/32"
	showNeighbor = "show bgp neighbors"
)

// shows waits until what a command prints has a text in it.
func shows(tb testing.TB, frr *netlab.FRR, command, want string) {
	tb.Helper()
	netlab.Eventually(tb, 15*time.Second, func() string {
		if out := frr.Show(command); !strings.Contains(out, want) {
			return fmt.Sprintf("%s: want %q in it: %s", command, want, out)
		}
		return ""
	})
}

// saysOf waits until the status of a session has a text as its last error.
func (r *remote) saysOf(peer, want string) {
	r.tb.Helper()
	netlab.Eventually(r.tb, 25*time.Second, func() string {
		if p := r.peer(peer); !strings.Contains(p.LastError, want) {
			return fmt.Sprintf("want an error with %q: %+v", want, p)
		}
		return ""
	})
	r.tb.Logf("the user reads: %s", r.peer(peer).LastError)
}

// TestSessionOptions has each option at work with FRR, and what a user reads
// where it is wrong.
func TestSessionOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		router string // the neighbor's configuration, and what else belongs to "router bgp"
		with   func(*plan.Session)
		shows  [2]string // a command, and what it prints then
		broken func(*plan.Session)
		says   string
	}{
		{
			"eBGP, one hop", "neighbor 10.8.0.11 remote-as 64513",
			func(*plan.Session) {},
			[2]string{showNeighbor, "external link"},
			func(s *plan.Session) { s.ASN = 64999 },
			"the peer has another AS number than 64999, which the configuration says",
		}, {
			"iBGP has LOCAL_PREF", "neighbor 10.8.0.11 remote-as 64512",
			func(s *plan.Session) { s.LocalASN = 64512 },
			[2]string{showRoute, "localpref 100, valid, internal"},
			func(s *plan.Session) { s.LocalASN = 64513 },
			"this node's AS number",
		}, {
			"another AS of ours", "neighbor 10.8.0.11 remote-as 64999",
			func(s *plan.Session) { s.LocalASN = 64999 },
			[2]string{showRoute, "\n  64999\n"},
			func(s *plan.Session) { s.LocalASN = 0 },
			"this node's AS number",
		}, {
			"whatever AS the router has", "neighbor 10.8.0.11 remote-as 64513",
			func(s *plan.Session) { s.ASN = 0 },
			[2]string{showNeighbor, "external link"},
			func(s *plan.Session) { s.ASN = 64999 },
			"the peer has another AS number than 64999, which the configuration says",
		}, {
			"whatever AS but our own", "neighbor 10.8.0.11 remote-as 64512",
			func(s *plan.Session) { s.LocalASN = 64512 },
			[2]string{showNeighbor, "internal link"},
			func(s *plan.Session) { s.ASN = 0 },
			"the peer has our own AS number, 64512, and the session is for external peers",
		}, {
			"TTL security", "neighbor 10.8.0.11 remote-as 64513\n neighbor 10.8.0.11 ttl-security hops 1",
			func(s *plan.Session) { s.TTLSecurity = 1 },
			[2]string{showNeighbor, "may be up to 1 hops away"},
			func(s *plan.Session) { s.TTLSecurity = 0 },
			"TTL security on one side only",
		}, {
			"TTL security that the router lacks", "neighbor 10.8.0.11 remote-as 64513",
			func(*plan.Session) {},
			[2]string{showNeighbor, "external link"},
			func(s *plan.Session) { s.TTLSecurity = 1 },
			"TTL security on one side only",
		}, {
			"source address", "neighbor 10.8.0.211 remote-as 64513",
			func(s *plan.Session) { s.Source = netip.MustParseAddr("10.8.0.211") },
			[2]string{showRoute, "10.8.0.211 from 10.8.0.211"},
			func(s *plan.Session) { s.Source = netip.MustParseAddr("10.8.0.212") },
			"cannot assign requested address: this node does not have the source address",
		}, {
			"bound to a link", "neighbor 10.8.0.11 remote-as 64513",
			func(s *plan.Session) { s.Interface = "eth0" },
			[2]string{showNeighbor, "external link"},
			func(s *plan.Session) { s.Interface = "eth9" },
			"this node does not have the interface eth9",
		}, {
			"password", "neighbor 10.8.0.11 remote-as 64513\n neighbor 10.8.0.11 password right",
			func(s *plan.Session) { s.PasswordKey = "right" },
			[2]string{showNeighbor, "Peer Authentication Enabled"},
			func(s *plan.Session) { s.PasswordKey = "wrong" },
			"or a password that differs",
		}, {
			"password that nobody has put there", "neighbor 10.8.0.11 remote-as 64513\n neighbor 10.8.0.11 password right",
			func(s *plan.Session) { s.PasswordKey = "right" },
			[2]string{showNeighbor, "Peer Authentication Enabled"},
			func(s *plan.Session) { s.PasswordKey = "missing" },
			`no password: key "missing" of the Secret herald-bgp: no such file`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 1)
			r.nodes[0].Addr("eth0", "10.8.0.211/24")
			frr := r.router.FRR("router bgp 64512\n bgp router-id 10.8.0.1\n no bgp ebgp-requires-policy\n " + tc.router + "\n")
			n := startAnnouncer(t, r.nodes[0])
			n.tell(order{Passwords: map[string]string{"right": "right", "wrong": "something else"}})
			s := tor("tor", "10.8.0.1", 64512, config.NonTransitive)
			tc.with(&s)
			n.apply(table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1"))
			shows(t, frr, tc.shows[0], tc.shows[1])
			shows(t, frr, showRoute, "Last update")
			tc.broken(&s)
			n.apply(table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1"))
			n.saysOf("tor", tc.says)
			netlab.Eventually(t, 5*time.Second, func() string {
				if p := n.peer("tor"); p.State == Established {
					return fmt.Sprintf("it is up all the same: %+v", p)
				}
				return ""
			})
		})
	}
}

// TestChangedPasswordOpensTheSessionAnew changes it on the router, too.
func TestChangedPasswordOpensTheSessionAnew(t *testing.T) {
	t.Parallel()
	r := newRack(t, 1)
	frr := r.router.FRR("router bgp 64512\n no bgp ebgp-requires-policy\n neighbor 10.8.0.11 remote-as 64513\n" +
		" neighbor 10.8.0.11 timers connect 1\n neighbor 10.8.0.11 password old\n")
	n := startAnnouncer(t, r.nodes[0])
	n.tell(order{Passwords: map[string]string{"tor": "old"}})
	s := tor("tor", "10.8.0.1", 64512, "")
	s.PasswordKey = "tor"
	n.apply(table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1"))
	shows(t, frr, showRoute, "Last update")
	// A Secret that is away for a moment costs nothing.
	n.tell(order{Passwords: map[string]string{}})
	time.Sleep(6 * time.Second)
	if p := n.peer("tor"); p.State != Established || p.LastError != "" {
		t.Errorf("without its password the session is %+v", p)
	}
	n.tell(order{Passwords: map[string]string{"tor": "new"}})
	n.saysOf("tor", "or a password that differs")
	frr.Configure("router bgp 64512", "neighbor 10.8.0.11 password new")
	shows(t, frr, showRoute, "Last update")
}

// TestMultihop has a router between the two.
func TestMultihop(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	node, between, router := lab.Node("n1"), lab.Node("m"), lab.Node("r")
	lab.Pair(node, "eth0", between, "left")
	lab.Pair(router, "eth0", between, "right")
	node.Addr("eth0", "10.8.0.11/24")
	between.Addr("left", "10.8.0.254/24")
	between.Addr("right", "10.9.0.254/24")
	router.Addr("eth0", "10.9.0.1/24")
	node.Run("ip", "route", "add", "default", "via", "10.8.0.254")
	router.Run("ip", "route", "add", "default", "via", "10.9.0.254")
	frr := router.FRR("router bgp 64512\n no bgp ebgp-requires-policy\n neighbor 10.8.0.11 remote-as 64513\n neighbor 10.8.0.11 ebgp-multihop 2\n")
	n := startAnnouncer(t, node)
	s := tor("tor", "10.9.0.1", 64512, "")
	s.EBGPMultihop = 2
	n.apply(table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1"))
	shows(t, frr, showRoute, "Last update")
	s.EBGPMultihop = 0
	n.apply(table(1, 64513, []plan.Session{s}))
	n.saysOf("tor", "no route to host: this network knows no such host")
	s.TTLSecurity = 2
	frr.Configure("router bgp 64512", "no neighbor 10.8.0.11 ebgp-multihop", "neighbor 10.8.0.11 ttl-security hops 2")
	n.apply(table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1"))
	shows(t, frr, showRoute, "Last update")
}

// TestLinkLocalSession has both families with the link-local address of the node
// as their next hop, IPv4 by RFC 8950. FRR 10.3 finds such a next hop only where it
// has opened the connection itself: of one that it has accepted it forgets the link.
func TestLinkLocalSession(t *testing.T) {
	t.Parallel()
	for _, release := range netlab.FRRs {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 1)
			node, router := linkLocal(t, r.nodes[0]), linkLocal(t, r.router)
			s := tor("tor", router.String(), 64512, config.NonTransitive)
			s.Interface, s.Passive = "eth0", release == "frr-10.3"
			conf := bgpd(64513) + " neighbor NODE peer-group N\n neighbor NODE interface eth0\n neighbor NODE capability extended-nexthop\n"
			if s.Passive {
				conf += " neighbor NODE port 1179\n"
			}
			r.router.FRROf(release, strings.ReplaceAll(conf, "NODE", node.String()))
			n := startAnnouncer(t, r.nodes[0])
			tab := table(1, 64513, []plan.Session{s}, "198.51.100.10/32 1", "2001:db8:5::10/128 1")
			tab.ListenPort = 1179
			n.apply(tab)
			wantFIB(t, 15*time.Second, r.router, "198.51.100.10", node.String())
			wantFIB(t, 5*time.Second, r.router, "2001:db8:5::10", node.String())
			if s.Passive {
				return
			}
			s.Interface = "eth9"
			tab.Sessions = []plan.Session{s}
			n.apply(tab)
			n.saysOf("tor", "this node does not have the interface eth9")
		})
	}
}

// linkLocal is the link-local address of a node's eth0.
func linkLocal(tb testing.TB, n *netlab.Node) netip.Addr {
	tb.Helper()
	fields := strings.Fields(n.Run("ip", "-6", "-br", "addr", "show", "dev", "eth0", "scope", "link"))
	for _, f := range fields {
		if p, err := netip.ParsePrefix(f); err == nil {
			return p.Addr()
		}
	}
	tb.Fatalf("%s has no link-local address: %v", n.Name, fields)
	return netip.Addr{}
}
