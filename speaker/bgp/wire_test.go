package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// to is a session to a wireRouter.
func to(name string, r *wireRouter, form config.LinkBandwidthForm) plan.Session {
	s := tor(name, r.addr.Addr().String(), r.asn, form)
	s.Port, s.HoldTime, s.KeepaliveTime = r.addr.Port(), 9*time.Second, 3*time.Second
	return s
}

func peersTable(asn uint32, sessions []plan.Session, routes ...plan.Route) plan.Table {
	return plan.Table{
		ASN: asn, RouterID: netip.MustParseAddr("192.0.2.1"), Sessions: sessions, Routes: routes,
		NextHops: plan.NextHops{IPv4: netip.MustParseAddr("192.0.2.1"), IPv6: netip.MustParseAddr("2001:db8::1")},
	}
}

func TestEachPeerGetsItsOwnRoutes(t *testing.T) {
	t.Parallel()
	a, b, c := listen(t, "127.1.0.1", 64512), listen(t, "127.1.0.2", 64513), listen(t, "::1", 64512)
	sessions := []plan.Session{to("a", a, config.NonTransitive), to("b", b, config.Transitive), to("c", c, config.Transitive)}
	l := startLoopback(t)
	l.apply(peersTable(64513, sessions,
		route("a", "198.51.100.1/32 1"), route("a", "198.51.100.2/32 3"), route("a", "2001:db8:5::1/128 1"),
		route("b", "198.51.100.2/32 7"), route("b", "198.51.100.3/32 0"),
		route("c", "198.51.100.1/32 4"), route("c", "2001:db8:5::1/128 4")))
	a.wants("198.51.100.1/32 127.0.0.1 4004:64513:1", "198.51.100.2/32 127.0.0.1 4004:64513:3", "2001:db8:5::1/128 2001:db8::1 4004:64513:1")
	b.wants("198.51.100.2/32 127.0.0.1 0004:64513:7", "198.51.100.3/32 127.0.0.1 0004:64513:1")
	c.wants("198.51.100.1/32 192.0.2.1 0004:64513:4", "2001:db8:5::1/128 ::1 0004:64513:4")
	for name, want := range map[string]string{
		"a": "BGP_ATTR_TYPE_ORIGIN BGP_ATTR_TYPE_AS_PATH ",
		"b": "BGP_ATTR_TYPE_ORIGIN BGP_ATTR_TYPE_AS_PATH BGP_ATTR_TYPE_LOCAL_PREF ",
	} {
		r := map[string]*wireRouter{"a": a, "b": b}[name]
		if got := r.attributes("198.51.100.2/32"); got != want {
			t.Errorf("%s was sent the attributes %q, want %q", name, got, want)
		}
	}
	// A route moves from one peer to another, and one peer changes its form.
	sessions[1].LinkBandwidth = config.NonTransitive
	l.apply(peersTable(64513, sessions,
		route("a", "198.51.100.1/32 1"), route("a", "2001:db8:5::1/128 1"),
		route("b", "198.51.100.2/32 7"), route("b", "198.51.100.3/32 2"),
		route("c", "198.51.100.1/32 4"), route("c", "198.51.100.2/32 9"), route("c", "2001:db8:5::1/128 4")))
	a.wants("198.51.100.1/32 127.0.0.1 4004:64513:1", "2001:db8:5::1/128 2001:db8::1 4004:64513:1")
	b.wants("198.51.100.2/32 127.0.0.1 4004:64513:7", "198.51.100.3/32 127.0.0.1 4004:64513:2")
	c.wants("198.51.100.1/32 192.0.2.1 0004:64513:4", "198.51.100.2/32 192.0.2.1 0004:64513:9", "2001:db8:5::1/128 ::1 0004:64513:4")
	for r, want := range map[*wireRouter]int{a: 1, b: 0, c: 0} {
		if sessions, _, withdrawals := r.seen(); sessions != 1 || withdrawals != want {
			t.Errorf("%s: %d sessions and %d withdrawals, want 1 and %d", r.addr, sessions, withdrawals, want)
		}
	}
}

func TestWeightReplacesRouteWithoutWithdrawal(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.1.1.1", 64512)
	sessions := []plan.Session{to("tor", r, config.NonTransitive)}
	l := startLoopback(t)
	for w := 1; w <= 5; w++ {
		table := peersTable(4200000001, sessions, route("tor", fmt.Sprintf("198.51.100.1/32 %d", w)), route("tor", fmt.Sprintf("2001:db8:5::1/128 %d", w)))
		l.apply(table)
		l.apply(table) // no UPDATE for what is so already
		r.wants(fmt.Sprintf("198.51.100.1/32 127.0.0.1 4004:23456:%d", w), fmt.Sprintf("2001:db8:5::1/128 2001:db8::1 4004:23456:%d", w))
		if w == 1 {
			time.Sleep(300 * time.Millisecond) // a change right at the start is sent twice
		}
	}
	if sessions, updates, withdrawals := r.seen(); sessions != 1 || updates != 10 || withdrawals != 0 {
		t.Errorf("%d sessions, %d updates, %d withdrawals, want 1, 10, 0", sessions, updates, withdrawals)
	}
	l.apply(peersTable(4200000001, sessions))
	r.wants()
}

func TestOnlyTheChangedSessionRestarts(t *testing.T) {
	t.Parallel()
	a, b := listen(t, "127.1.2.1", 64512), listen(t, "127.1.2.2", 64512)
	sessions := []plan.Session{to("a", a, config.NonTransitive), to("b", b, config.NonTransitive)}
	routes := []plan.Route{route("a", "198.51.100.1/32 1"), route("b", "198.51.100.1/32 1")}
	l := startLoopback(t)
	l.apply(peersTable(64513, sessions, routes...))
	const one = "198.51.100.1/32 127.0.0.1 4004:64513:1"
	a.wants(one)
	b.wants(one)
	sessions[0].HoldTime = 12 * time.Second
	l.apply(peersTable(64513, sessions, routes...))
	netlab.Eventually(t, 10*time.Second, func() string { return wantSessions(a, 2) })
	a.wants(one)
	if problem := wantSessions(b, 1); problem != "" {
		t.Error(problem)
	}
	if code, _ := a.farewell(); code != bgp.BGP_ERROR_CEASE {
		t.Errorf("the session ended with notification %d, want a Cease", code)
	}
	// Without b, a is left alone; with another AS number all start again.
	l.apply(peersTable(64513, sessions[:1], routes[:1]...))
	netlab.Eventually(t, 5*time.Second, func() string {
		if b.established() {
			return "the session with b is still there"
		}
		return ""
	})
	l.apply(peersTable(64514, sessions, routes...))
	a.wants("198.51.100.1/32 127.0.0.1 4004:64514:1")
	b.wants("198.51.100.1/32 127.0.0.1 4004:64514:1")
	if problem := wantSessions(a, 3); problem != "" {
		t.Error(problem)
	}
	// A Node that was deleted, or has another address, costs no session; its
	// routes go all the same.
	lost := peersTable(64514, sessions, routes[1:]...)
	lost.RouterID = netip.Addr{}
	l.apply(lost)
	a.wants()
	if problem := wantSessions(a, 3); problem != "" {
		t.Error(problem)
	}
	l.apply(plan.Table{})
	if peers := l.peers(); len(peers) != 0 {
		t.Errorf("after an empty table there are still %v", peers)
	}
}

func wantSessions(r *wireRouter, want int) string {
	if sessions, _, _ := r.seen(); sessions != want {
		return fmt.Sprintf("%s had %d sessions, want %d", r.addr, sessions, want)
	}
	return ""
}

func TestRunEndsWithCease(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.1.3.1", 64512)
	l := startLoopback(t)
	l.apply(peersTable(64513, []plan.Session{to("tor", r, config.NonTransitive)}))
	r.awaitSession(5 * time.Second)
	l.in.Close()
	took := netlab.Eventually(t, time.Second, func() string {
		if code, subcode := r.farewell(); code != bgp.BGP_ERROR_CEASE || subcode != bgp.BGP_ERROR_SUB_PEER_DECONFIGURED {
			return fmt.Sprintf("the session ended with notification %d/%d", code, subcode)
		}
		return ""
	})
	t.Logf("the peer knows after %v", took)
}

func TestApplyWaitsForRun(t *testing.T) {
	a, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := a.Apply(ctx, plan.Table{}); err == nil {
		t.Error("Apply before Run has done something")
	}
	run, stop := context.WithCancel(context.Background())
	go a.Run(run)
	if err := a.Apply(context.Background(), plan.Table{}); err != nil {
		t.Error(err)
	}
	stop()
	<-a.done
	if err := a.Run(run); err == nil {
		t.Error("Run may be called twice")
	}
}

func TestNeighboursRoutesAreRefused(t *testing.T) {
	a, b := listen(t, "127.1.4.1", 64512), listen(t, "127.1.4.2", 64514)
	sessions := []plan.Session{to("a", a, config.NonTransitive), to("b", b, config.NonTransitive)}
	sp := startSpeaker(t, peersTable(64513, sessions, route("b", "198.51.100.1/32 1")))
	a.awaitSession(5 * time.Second)
	b.wants("198.51.100.1/32 127.0.0.1 4004:64513:1")
	// One prefix that nobody has, and the one that we announce to b.
	if err := a.send(update(good, []byte{24, 203, 0, 113, 32, 198, 51, 100, 1})); err != nil {
		t.Fatal(err)
	}
	in := func(table api.TableType, name string, f bgp.Family) (list []string) {
		sp.gobgp.ListPath(apiutil.ListPathRequest{TableType: table, Name: name, Family: f}, func(n bgp.NLRI, paths []*apiutil.Path) {
			list = append(list, fmt.Sprintf("%s*%d", n, len(paths)))
		})
		return list
	}
	netlab.Eventually(t, 5*time.Second, func() string {
		if got := in(api.TableType_TABLE_TYPE_ADJ_IN, "127.1.4.1", bgp.RF_IPv4_UC); len(got) != 2 {
			return fmt.Sprintf("received %q", got)
		}
		return ""
	})
	time.Sleep(100 * time.Millisecond)
	if got := in(api.TableType_TABLE_TYPE_GLOBAL, "", bgp.RF_IPv4_VPN); len(got) != 1 || !strings.HasSuffix(got[0], "198.51.100.1/32*1") {
		t.Errorf("the RIB has %q, want only the route that is ours", got)
	}
	a.wants()
	if _, updates, withdrawals := b.seen(); updates != 1 || withdrawals != 0 {
		t.Errorf("b saw %d updates and %d withdrawals, want 1 and none", updates, withdrawals)
	}
}

// startSpeaker starts the part of an announcer that its loop owns, without the
// loop. Tests that use it do not run in parallel, for gobgp's sake.
func startSpeaker(tb testing.TB, t plan.Table) *speaker {
	tb.Helper()
	s := newSpeaker(Options{Log: slog.New(slog.DiscardHandler)}, &calls{}, newStatus(slog.New(slog.DiscardHandler)))
	tb.Cleanup(func() { close(s.ended); s.stop(false) })
	if err := s.apply(t); err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestRepairSendsAgainWhatWasMissed plays a peer that missed two changes made
// while its session came up: one route added, another withdrawn.
func TestRepairSendsAgainWhatWasMissed(t *testing.T) {
	r := listen(t, "127.1.7.1", 64512)
	sessions := []plan.Session{to("tor", r, config.NonTransitive)}
	sp := startSpeaker(t, peersTable(64513, sessions, route("tor", "198.51.100.1/32 1")))
	r.wants("198.51.100.1/32 127.0.0.1 4004:64513:1")
	up := time.Now()
	if err := sp.apply(peersTable(64513, sessions, route("tor", "198.51.100.2/32 1"))); err != nil {
		t.Fatal(err)
	}
	r.wants("198.51.100.2/32 127.0.0.1 4004:64513:1")
	r.mu.Lock()
	r.table = map[netip.Prefix]got{netip.MustParsePrefix("198.51.100.1/32"): {}}
	r.mu.Unlock()
	if err := sp.repair(sp.peers["tor"], up); err != nil {
		t.Fatal(err)
	}
	r.wants("198.51.100.2/32 127.0.0.1 4004:64513:1")
	// Long after its start a session has missed nothing.
	_, before, _ := r.seen()
	if err := sp.repair(sp.peers["tor"], time.Now()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if _, after, _ := r.seen(); after != before {
		t.Errorf("%d UPDATEs without need", after-before)
	}
}

// TestChangesWhileSessionsStart adds a route and withdraws one, again and again,
// while many sessions come up. Each change happens once, so a peer that misses
// one stays wrong.
func TestChangesWhileSessionsStart(t *testing.T) {
	t.Parallel()
	const peers, most = 60, 2000
	var routers []*wireRouter
	var sessions []plan.Session
	for i := range peers {
		routers = append(routers, listen(t, fmt.Sprintf("127.5.0.%d", i+1), 64512))
		sessions = append(sessions, to(fmt.Sprintf("r%02d", i), routers[i], config.NonTransitive))
	}
	l := startLoopback(t)
	step := 0
	for start := time.Now(); time.Since(start) < 2500*time.Millisecond && step < most; step++ {
		var routes []plan.Route
		for _, s := range sessions {
			for i := max(0, step-100); i <= step; i++ {
				routes = append(routes, plan.Route{Peer: s.Name, Prefix: numbered(i), Weight: 1})
			}
		}
		l.apply(peersTable(64513, sessions, routes...))
	}
	var want []string
	for i := max(0, step-101); i < step; i++ {
		want = append(want, numbered(i).String()+" 127.0.0.1 4004:64513:1")
	}
	t.Logf("%d tables", step)
	for _, r := range routers {
		r.wants(want...)
	}
}

func numbered(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	wrong := listen(t, "127.1.5.1", 64999)
	dumb := listenWith(t, "127.1.5.2", 64512, message(bgp.BGP_MSG_NOTIFICATION, bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, bgp.BGP_ERROR_SUB_BAD_PEER_AS))
	lost := listen(t, "127.1.5.3", 64512)
	sessions := []plan.Session{to("wrong", wrong, ""), to("dumb", dumb, ""), to("lost", lost, ""), tor("refused", "127.1.5.4", 64512, "")}
	sessions[0].ASN, sessions[3].Port = 64512, 1
	l := startLoopback(t)
	l.apply(peersTable(64513, sessions))
	lost.awaitSession(5 * time.Second)
	lost.cut()
	for name, want := range map[string]string{
		"wrong":   "the peer has another AS number than 64512, which the configuration says",
		"dumb":    "look whether it has this node as a neighbor",
		"lost":    "the peer closed the connection without a word",
		"refused": "cannot connect: connection refused: nothing listens there",
	} {
		netlab.Eventually(t, 8*time.Second, func() string {
			if p := l.peer(name); !strings.Contains(p.LastError, want) || p.State == Established || p.LastErrorAt.IsZero() {
				return fmt.Sprintf("%s is %+v, want an error with %q", name, p, want)
			}
			return ""
		})
	}
	if bad := l.tell(order{}).Healthy; bad != "" {
		t.Error(bad)
	}
}

func TestPeersSaysHowSessionsAre(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.1.6.1", 64512)
	begun := time.Now()
	l := startLoopback(t)
	table := peersTable(64513, []plan.Session{to("tor", r, ""), tor("absent", "127.1.6.2", 64512, "")}, route("tor", "198.51.100.1/32 1"), route("tor", "2001:db8:5::1/128 1"))
	table.NextHops.IPv6 = netip.Addr{}
	table.Sessions[1].Port = 1
	l.apply(table)
	const withheld = "1 IPv6 routes not announced: this node has no IPv6 address to be their next hop"
	r.wants("198.51.100.1/32 127.0.0.1 0004:64513:1 4004:64513:1")
	peers := l.peers()
	names := []string{peers[0].Name, peers[1].Name}
	if !slices.Equal(names, []string{"absent", "tor"}) {
		t.Fatalf("peers are %v", names)
	}
	netlab.Eventually(t, 5*time.Second, func() string {
		peers = l.peers()
		if up := peers[1]; up.State != Established || up.Routes != 1 || up.Withheld != withheld || up.Since.Before(begun) || up.ASN != 64512 {
			return fmt.Sprintf("tor is %+v", up)
		}
		return ""
	})
	if peers[0].State == Established || peers[0].Routes != 0 {
		t.Errorf("absent is %+v", peers[0])
	}
}
