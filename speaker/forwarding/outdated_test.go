package forwarding

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// endpoint is one that is ready on n1, at 10.244.1.LAST.
func endpoint(last byte) cluster.Endpoint {
	return cluster.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 244, 1, last}), Node: "n1", Ready: true, Serving: true}
}

// aged is a Prober whose one target is forwarded by endpoints .2 and .3, and whose
// kube-proxy then says is.
func aged(t *testing.T) (p *Prober, now time.Time, want func(...cluster.Endpoint)) {
	t.Helper()
	p, err := New(Options{Healthz: "http://127.0.0.1:1/healthz"})
	if err != nil {
		t.Fatal(err)
	}
	p.Know([]Key{web4})
	want = func(e ...cluster.Endpoint) { p.Want([]Target{{Key: web4, Endpoints: e, Local: "n1"}}, false) }
	want(endpoint(2), endpoint(3))
	return p, time.Now(), want
}

var (
	well   = proxy{heard: true, healthy: true, told: true}
	behind = proxy{heard: true, healthy: true, told: true, behind: true, age: time.Hour}
	silent = proxy{why: "connection refused"}
)

// Each row is a life of a kube-proxy: what it says at which second after endpoint
// .2 was changed for another, and whether the rules count as outdated then.
func TestWhatADeadKubeProxyForwards(t *testing.T) {
	type at struct {
		second   int
		is       proxy
		outdated bool
	}
	swap := []cluster.Endpoint{endpoint(3), endpoint(4)}
	for _, tt := range []struct {
		desc string
		now  []cluster.Endpoint
		says []at
	}{
		{"it writes the change", swap, []at{{1, well, false}, {60, silent, false}, {70, silent, false}}},
		{"it dies before", swap, []at{{1, behind, false}, {2, silent, false}, {8, silent, true}, {9, behind, true}, {10, well, false}}},
		{"it is restarted while a pod goes", swap, []at{{1, silent, false}, {4, silent, false}, {5, behind, false}, {6, well, false}}},
		{"it dies, and nothing changes", []cluster.Endpoint{endpoint(2), endpoint(3)}, []at{{1, well, false}, {30, silent, false}, {40, silent, false}}},
		{"a pod is added only", []cluster.Endpoint{endpoint(2), endpoint(3), endpoint(4)}, []at{{1, behind, false}, {8, silent, false}, {60, silent, false}}},
		{"it answers and never writes", swap, []at{{1, behind, false}, {20, behind, false}, {31, behind, true}, {32, well, false}}},
		{"there never was one", swap, []at{{1, silent, false}, {60, silent, false}}},
	} {
		p, begun, want := aged(t)
		if tt.says[0].is.heard || len(tt.says) > 2 {
			p.check(well, begun)
		}
		want(tt.now...)
		for _, x := range tt.says {
			p.check(x.is, begun.Add(time.Duration(x.second)*time.Second))
			got := p.Forwarding(web4)
			if !got.OK || got.Outdated != x.outdated || (got.Why != "") != x.outdated {
				t.Errorf("%s: after %d s it is %+v, want outdated %v", tt.desc, x.second, got, x.outdated)
			}
		}
	}
}

func TestOutdatedSaysWhereTheRulesLead(t *testing.T) {
	p, begun, want := aged(t)
	p.check(well, begun)
	want(endpoint(4))
	p.check(silent, begun.Add(downAfter+time.Second))
	why := p.Forwarding(web4).Why
	for _, part := range []string{"kube-proxy has not answered since ", "lead to 10.244.1.2, 10.244.1.3, where no ready"} {
		if !strings.Contains(why, part) {
			t.Errorf("%q lacks %q", why, part)
		}
	}
	if s := p.State(); s.Outdated["default/web IPv4"] != why {
		t.Errorf("%+v", s)
	}
	// The pods come back: the rules are right again, although nobody wrote any.
	want(endpoint(2), endpoint(3))
	p.check(silent, begun.Add(downAfter+2*time.Second))
	if a := p.Forwarding(web4); a.Outdated {
		t.Errorf("%+v", a)
	}
}

// A real kube-proxy that dies, as far as HTTP goes.
func TestADeadKubeProxyIsNoticed(t *testing.T) {
	page, s := serve(t)
	page.queued.Store(10)
	page.written.Store(20)
	p := start(t, Options{Healthz: s.URL + "/healthz", Metrics: s.URL + "/metrics"})
	p.Want([]Target{{Key: web4, Endpoints: []cluster.Endpoint{endpoint(2)}}}, false)
	if !opens(t, p, 5*time.Second) {
		t.Fatal("never forwarded")
	}
	s.Close()
	p.Want([]Target{{Key: web4, Endpoints: []cluster.Endpoint{endpoint(3)}}}, false)
	begun := time.Now()
	for !p.Forwarding(web4).Outdated {
		select {
		case <-p.Wake():
		case <-time.After(3 * downAfter):
			t.Fatalf("not noticed: %+v", p.State())
		}
	}
	if took := time.Since(begun); took < downAfter-healthEvery || took > downAfter+4*time.Second {
		t.Errorf("noticed after %s, want some %s", took, downAfter)
	}
	if s := p.State(); !s.Down || s.Heard.IsZero() {
		t.Errorf("%+v", s)
	}
}

func TestOtherNodesAreAskedWhetherTheyAreWell(t *testing.T) {
	n2, n3 := netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("10.0.0.13")
	p, err := New(Options{Healthz: "http://127.0.0.1:1/healthz", Able: func(_ context.Context, at netip.Addr) bool { return at == n2 }})
	if err != nil {
		t.Fatal(err)
	}
	p.askOthers(t.Context())
	if p.Able("n2") {
		t.Error("well although nobody asked")
	}
	p.Others(map[string]netip.Addr{"n2": n2, "n3": n3})
	p.askOthers(t.Context())
	if !p.Able("n2") || p.Able("n3") {
		t.Errorf("n2 is %v, n3 is %v", p.Able("n2"), p.Able("n3"))
	}
	if now := time.Now(); !p.others.says("n2", now.Add(ableFor/2)) || p.others.says("n2", now.Add(2*ableFor)) {
		t.Error("its word must count for a while, and not for ever")
	}
	p.Others(nil)
	if p.Able("n2") {
		t.Error("well although it is not asked any more")
	}
}

func TestASpeakerTellsOthersWhetherItsKubeProxyIsWell(t *testing.T) {
	p, begun, want := aged(t)
	s := httptest.NewServer(p.Handler())
	defer s.Close()
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	ask := Asker(at.Port())
	if !ask(t.Context(), at.Addr()) {
		t.Error("not well although nothing is wrong")
	}
	p.check(well, begun.Add(-time.Hour))
	want(endpoint(4))
	p.check(silent, begun)
	if ask(t.Context(), at.Addr()) {
		t.Error("well although kube-proxy is dead")
	}
	old := httptest.NewServer(http.NotFoundHandler())
	defer old.Close()
	at = netip.MustParseAddrPort(old.Listener.Addr().String())
	if !Asker(at.Port())(t.Context(), at.Addr()) {
		t.Error("a speaker of an older version must count as well")
	}
}
