package forwarding

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// proxyPage is a kube-proxy as seen from outside.
type proxyPage struct {
	healthz, service atomic.Int64 // status codes
	queued, written  atomic.Int64 // unix seconds
	pending          atomic.Int64
	updated          atomic.Pointer[time.Time] // nil: healthz does not say
	asked            atomic.Int64              // requests of any kind
}

func (p *proxyPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	switch r.URL.Path {
	case "/healthz":
		w.WriteHeader(int(p.healthz.Load()))
		if at := p.updated.Load(); at != nil {
			fmt.Fprintf(w, `{"lastUpdated": %[1]q, "status": {"IPv4": {"lastUpdated": %[1]q, "healthy": true}}}`, at.Format(time.RFC3339Nano))
		}
	case "/metrics":
		fmt.Fprintf(w, "# HELP x y\nkubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} %d\n", p.queued.Load())
		written := fmt.Sprint(p.written.Load())
		if at := p.updated.Load(); at != nil {
			written = fmt.Sprintf("%.6f", float64(at.UnixMicro())/1e6)
		}
		fmt.Fprintf(w, "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} %s\n", written)
		fmt.Fprintf(w, "kubeproxy_sync_proxy_rules_service_changes_pending %d\n", p.pending.Load())
	default:
		w.Header().Set(weightHeader, "3")
		w.WriteHeader(int(p.service.Load()))
	}
}

func serve(t *testing.T) (*proxyPage, *httptest.Server) {
	t.Helper()
	page := &proxyPage{}
	page.healthz.Store(200)
	page.service.Store(503)
	s := httptest.NewServer(page)
	t.Cleanup(s.Close)
	return page, s
}

func start(t *testing.T, o Options) *Prober {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.Run(t.Context()) }()
	return p
}

var web4 = Key{"default/web", cluster.IPv4}

func opens(t *testing.T, p *Prober, within time.Duration) bool {
	t.Helper()
	deadline := time.After(within)
	for {
		if p.Forwarding(web4).OK {
			return true
		}
		select {
		case <-p.Wake():
		case <-deadline:
			return false
		}
	}
}

func TestALocalServiceWaitsForItsHealthPort(t *testing.T) {
	page, s := serve(t)
	p := start(t, Options{Healthz: s.URL + "/healthz"})
	port := netip.MustParseAddrPort(s.Listener.Addr().String())
	p.Want([]Target{{Key: web4, Health: port}}, false)
	if opens(t, p, 300*time.Millisecond) {
		t.Fatal("forwarded although kube-proxy says 503")
	}
	if why := p.Forwarding(web4).Why; !strings.Contains(why, "503") || p.Settled() {
		t.Errorf("settled is %v, and the reason %q does not name the status", p.Settled(), why)
	}
	page.service.Store(200)
	if !opens(t, p, 5*time.Second) || !p.Settled() {
		t.Fatal("not forwarded although kube-proxy says 200")
	}
	if st := p.State(); st.Weights["default/web IPv4"] != 3 || st.Open != 1 {
		t.Errorf("the state is %+v, want weight 3 and one that is open", st)
	}
	page.service.Store(503)
	p.Want([]Target{{Key: web4, Health: port}}, false)
	if !p.Forwarding(web4).OK {
		t.Error("a target that is wanted still has closed")
	}
	p.Want(nil, false)
	p.Want([]Target{{Key: web4, Health: port}}, false)
	if p.Forwarding(web4).OK {
		t.Error("a target that is wanted anew was not asked about anew")
	}
}

// kube-proxy may serve the ports of Services on other addresses than the node's.
func TestAPortThatNobodyServesIsNotWaitedForForEver(t *testing.T) {
	page, s := serve(t)
	page.queued.Store(10)
	page.written.Store(20)
	p := start(t, Options{Healthz: s.URL + "/healthz", Metrics: s.URL + "/metrics"})
	nobody := httptest.NewServer(nil)
	port := netip.MustParseAddrPort(nobody.Listener.Addr().String())
	nobody.Close()
	begun := time.Now()
	p.Want([]Target{{Key: web4, Health: port}}, false)
	if !opens(t, p, ownFor+5*time.Second) {
		t.Fatal("never forwarded although kube-proxy is healthy")
	}
	if took := time.Since(begun); took < ownFor {
		t.Errorf("forwarded after %s: the port had %s to answer", took, ownFor)
	}
}

func TestAClusterServiceWaitsForTheWholeOfKubeProxy(t *testing.T) {
	page, s := serve(t)
	page.healthz.Store(503)
	page.queued.Store(20)
	page.written.Store(10)
	p := start(t, Options{Healthz: s.URL + "/healthz", Metrics: s.URL + "/metrics"})
	p.Want([]Target{{Key: web4}}, false)
	if opens(t, p, 400*time.Millisecond) {
		t.Fatal("forwarded although kube-proxy is not healthy")
	}
	page.healthz.Store(200)
	if opens(t, p, 400*time.Millisecond) {
		t.Fatal("forwarded although kube-proxy has changes to write")
	}
	if why := p.Forwarding(web4).Why; !strings.Contains(why, "changes to write") {
		t.Errorf("the reason is %q", why)
	}
	page.written.Store(21)
	if !opens(t, p, 5*time.Second) {
		t.Fatal("not forwarded although kube-proxy has written all")
	}
}

func TestAKubeProxyThatIsAlwaysBehindIsNotWaitedForForEver(t *testing.T) {
	page, s := serve(t)
	begun := time.Now()
	page.written.Store(begun.Unix())
	page.queued.Store(begun.Unix() + 1000)
	p := start(t, Options{Healthz: s.URL + "/healthz", Metrics: s.URL + "/metrics"})
	p.Want([]Target{{Key: web4}}, false)
	if opens(t, p, 2*blindFor) {
		t.Fatal("forwarded although kube-proxy has written nothing since")
	}
	page.written.Store(time.Now().Unix())
	if !opens(t, p, 5*time.Second) {
		t.Fatal("never forwarded although kube-proxy has written since")
	}
}

func TestWithoutMetricsAClusterServiceWaitsLonger(t *testing.T) {
	_, s := serve(t)
	p := start(t, Options{Healthz: s.URL + "/healthz"})
	begun := time.Now()
	p.Want([]Target{{Key: web4}}, false)
	if !opens(t, p, 10*time.Second) {
		t.Fatal("never forwarded")
	}
	if took := time.Since(begun); took < blindFor {
		t.Errorf("forwarded after %s, want at least %s", took, blindFor)
	}
}

func TestWhatIsNotAsked(t *testing.T) {
	_, s := serve(t)
	gone := netip.MustParseAddrPort(s.Listener.Addr().String())
	s.Close()
	target := []Target{{Key: web4, Health: gone}}
	for what, prepare := range map[string]func(*Prober){
		"the gate is off":           func(p *Prober) { p.Want(target, true) },
		"known from before":         func(p *Prober) { p.Know([]Key{web4}); p.Want(target, false) },
		"no target":                 func(p *Prober) { p.Want(nil, false) },
		"no kube-proxy ever showed": func(p *Prober) { p.started = p.started.Add(-absentAfter); p.Want(target, false) },
	} {
		p, err := New(Options{Healthz: "http://" + gone.String() + "/healthz"})
		if err != nil {
			t.Fatal(err)
		}
		prepare(p)
		p.round(t.Context())
		if a := p.Forwarding(web4); !a.OK {
			t.Errorf("%s: not forwarded: %s", what, a.Why)
		}
	}
	p, _ := New(Options{Healthz: "http://" + gone.String() + "/healthz"})
	p.Want(target, false)
	p.round(t.Context())
	if p.Forwarding(web4).OK {
		t.Error("forwarded although nobody answers")
	}
}

// What replaces kube-proxy may serve the ports of Local Services, and no healthz.
func TestPortsOfServicesSayNothingOfTheOthers(t *testing.T) {
	page, s := serve(t)
	page.service.Store(200)
	port := netip.MustParseAddrPort(s.Listener.Addr().String())
	local, all := Target{Key: web4, Health: port}, Target{Key: Key{"default/all", cluster.IPv4}}
	for _, tt := range []struct {
		desc           string
		began          time.Duration // ago
		booted, joined time.Duration // ago; 0: not known
		want           bool
	}{
		{"it may come yet", 30 * time.Second, 0, 0, false},
		{"it does not come", absentAfter, 0, 0, true},
		{"a node that was just booted", 2 * absentSoon, time.Minute, time.Hour, false},
		{"a node that has just joined", 2 * absentSoon, time.Hour, time.Minute, false},
		{"a speaker that was replaced on a node that is up", 2 * absentSoon, time.Hour, time.Hour, true},
		{"the same, a moment earlier", absentSoon / 2, time.Hour, time.Hour, false},
	} {
		p, err := New(Options{Healthz: "http://127.0.0.1:1/healthz"})
		if err != nil {
			t.Fatal(err)
		}
		ago := func(d time.Duration) time.Time {
			if d == 0 {
				return time.Time{}
			}
			return time.Now().Add(-d)
		}
		p.started, p.o.Booted = ago(tt.began), ago(tt.booted)
		p.Joined(ago(tt.joined))
		p.Want([]Target{local, all}, false)
		p.round(t.Context())
		if a := p.Forwarding(web4); !a.OK {
			t.Errorf("%s: the Local Service is not forwarded: %s", tt.desc, a.Why)
		}
		if a := p.Forwarding(all.Key); a.OK != tt.want {
			t.Errorf("%s: the Cluster Service is forwarded: %v (%s), want %v", tt.desc, a.OK, a.Why, tt.want)
		}
		if got := len(p.Open()); (got == 2) != tt.want {
			t.Errorf("%s: %d are remembered as forwarded", tt.desc, got)
		}
	}
}

// A kube-proxy that comes late takes nothing back that is announced.
func TestAKubeProxyThatComesLateClosesNothing(t *testing.T) {
	page, s := serve(t)
	page.healthz.Store(503)
	p, err := New(Options{Healthz: "http://127.0.0.1:1/healthz"})
	if err != nil {
		t.Fatal(err)
	}
	p.started = p.started.Add(-absentAfter)
	p.Want([]Target{{Key: web4}}, false)
	p.round(t.Context())
	p.o.Healthz = s.URL + "/healthz"
	later := Key{"default/later", cluster.IPv4}
	p.Want([]Target{{Key: web4}, {Key: later}}, false)
	p.round(t.Context())
	if !p.Forwarding(web4).OK || p.Forwarding(later).OK || p.State().Absent {
		t.Errorf("%+v", p.State())
	}
}

// begun is a Prober that has been at work for a while.
func begun(t *testing.T, s *httptest.Server) *Prober {
	t.Helper()
	p := start(t, Options{Healthz: s.URL + "/healthz", Metrics: s.URL + "/metrics"})
	p.Want(nil, false)
	return p
}

// The gate opens at kube-proxy's own moment.
func TestTheGateOpensWithinMilliseconds(t *testing.T) {
	for _, tt := range []struct {
		desc string
		port bool
		do   func(*proxyPage)
	}{
		{"Local: its port opens", true, func(p *proxyPage) { p.service.Store(200) }},
		{"Cluster: kube-proxy has written", false, func(p *proxyPage) {
			now := time.Now()
			p.pending.Store(0)
			p.updated.Store(&now)
		}},
	} {
		var worst time.Duration
		var asked int64
		for range 5 {
			page, s := serve(t)
			old := time.Now().Add(-time.Minute)
			page.updated.Store(&old)
			page.pending.Store(1)
			page.queued.Store(time.Now().Unix())
			p := begun(t, s)
			x := Target{Key: web4}
			if tt.port {
				x.Health = netip.MustParseAddrPort(s.Listener.Addr().String())
			}
			p.Want([]Target{x}, false)
			time.Sleep(700 * time.Millisecond)
			if p.Forwarding(web4).OK {
				t.Fatalf("%s: open too early", tt.desc)
			}
			at := time.Now()
			tt.do(page)
			if !opens(t, p, 5*time.Second) {
				t.Fatalf("%s: never opens: %s", tt.desc, p.Forwarding(web4).Why)
			}
			worst, asked = max(worst, time.Since(at)), page.asked.Load()
		}
		t.Logf("%s: after %s at most, of 5; %d requests in 0.7 s", tt.desc, worst, asked)
		if worst > 50*time.Millisecond { // 10 ms, on a machine that has time for us
			t.Errorf("%s: it took up to %s", tt.desc, worst)
		}
	}
}

// A Service that had a port before it had the address: the port's word is old.
func TestAPortThatAnsweredBeforeThereWasTheAddress(t *testing.T) {
	page, s := serve(t)
	page.service.Store(200)
	page.pending.Store(1)
	page.written.Store(time.Now().Unix() - 60)
	page.queued.Store(time.Now().Unix() - 60)
	p := begun(t, s)
	x := Target{Key: web4, Health: netip.MustParseAddrPort(s.Listener.Addr().String()), Addr: netip.MustParseAddr("192.0.2.1")}
	p.Want([]Target{x}, false)
	if opens(t, p, time.Second) {
		t.Fatal("open although kube-proxy has changes that it has not written")
	}
	now := time.Now().Add(time.Millisecond)
	page.pending.Store(0)
	page.updated.Store(&now)
	if !opens(t, p, 5*time.Second) {
		t.Fatalf("never opens: %s", p.Forwarding(web4).Why)
	}
	// Another address is another matter.
	page.pending.Store(1)
	time.Sleep(10 * time.Millisecond)
	x.Addr = netip.MustParseAddr("192.0.2.2")
	p.Want([]Target{x}, false)
	if opens(t, p, 500*time.Millisecond) {
		t.Error("open for an address that kube-proxy has not written")
	}
}

// BenchmarkWait is what a Service costs that waits for kube-proxy for a second, in
// CPU of both sides, by the number of Services that wait.
func BenchmarkWait(b *testing.B) {
	for _, n := range []int{1, 500, 10000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			page := &proxyPage{}
			page.healthz.Store(200)
			page.service.Store(503)
			s := httptest.NewServer(page)
			defer s.Close()
			port := netip.MustParseAddrPort(s.Listener.Addr().String())
			var targets []Target
			for i := range n {
				targets = append(targets, Target{Key: Key{fmt.Sprintf("default/s%d", i), cluster.IPv4}, Health: port})
			}
			before := cpu(b)
			for range b.N {
				p, err := New(Options{Healthz: s.URL + "/healthz", Metrics: s.URL + "/metrics"})
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(b.Context())
				p.Want(nil, false)
				p.Want(targets, false)
				go func() { _ = p.Run(ctx) }()
				time.Sleep(time.Second)
				cancel()
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(page.asked.Load())/float64(b.N), "requests/op")
		})
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A family in which nothing happens writes nothing.
func TestAFamilyThatRestsHoldsNothingUp(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ago := func(d time.Duration) float64 { return float64(now.Add(-d).UnixMicro()) / 1e6 }
	at := func(v4, v6 time.Duration) map[string]float64 { return map[string]float64{"4": ago(v4), "6": ago(v6)} }
	for _, tt := range []struct {
		desc            string
		queued, written map[string]float64
		pending         time.Duration // ago; 0: never seen
		heard           time.Duration // ago
		want            bool
	}{
		{"all is written", at(300*time.Millisecond, time.Hour), at(200*time.Millisecond, time.Hour), 0, 300 * time.Millisecond, true},
		{"changes were pending, and one family has written since", at(300*time.Millisecond, time.Hour), at(100*time.Millisecond, time.Hour), 200 * time.Millisecond, 300 * time.Millisecond, true},
		{"and none has", at(300*time.Millisecond, time.Hour), at(250*time.Millisecond, time.Hour), 200 * time.Millisecond, 300 * time.Millisecond, false},
		{"a family is always behind, and wrote long after we heard", at(time.Millisecond, time.Hour), at(500*time.Millisecond, time.Hour), 0, 2 * time.Second, true},
		{"and soon after", at(time.Millisecond, time.Hour), at(500*time.Millisecond, time.Hour), 0, time.Second, false},
		{"it has heard of something since", at(60*time.Millisecond, time.Hour), at(20*time.Millisecond, time.Hour), 0, 70 * time.Millisecond, true},
		{"it has not", at(90*time.Millisecond, time.Hour), at(80*time.Millisecond, time.Hour), 0, 70 * time.Millisecond, false},
	} {
		p := &Prober{}
		if tt.pending > 0 {
			p.pending = now.Add(-tt.pending)
		}
		x := proxy{healthy: true}
		p.tell(&x, tt.queued, tt.written, now)
		if got, why := x.wrote(tt.heard); got != tt.want {
			t.Errorf("%s: %v (%s), want %v", tt.desc, got, why, tt.want)
		}
	}
}
