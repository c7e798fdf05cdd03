package forwarding

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// proxyPage is a kube-proxy as seen from outside.
type proxyPage struct {
	healthz, service atomic.Int64 // status codes
	queued, written  atomic.Int64
}

func (p *proxyPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		w.WriteHeader(int(p.healthz.Load()))
	case "/metrics":
		fmt.Fprintf(w, "# HELP x y\nkubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} %d\n", p.queued.Load())
		fmt.Fprintf(w, "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} %d\n", p.written.Load())
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
