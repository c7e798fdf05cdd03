package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAnswers(t *testing.T) {
	broken := errors.New("caches are not synced")
	metrics := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "herald_test", Help: "A test."})
	metrics.MustRegister(gauge)
	full := Options{
		Metrics: metrics,
		Ready:   func() error { return broken },
		State:   func(*http.Request) any { return map[string]int{"services": 3} },
	}
	for _, tt := range []struct {
		desc    string
		options Options
		path    string
		code    int
		want    string
	}{
		{"healthy by default", Options{}, "/healthz", 200, "ok"},
		{"ready by default", Options{}, "/readyz", 200, "ok"},
		{"not ready, and why", full, "/readyz", 503, "caches are not synced"},
		{"metrics", full, "/metrics", 200, "herald_test 0"},
		{"no metrics", Options{}, "/metrics", 404, "not found"},
		{"state", full, "/state", 200, `"services": 3`},
		{"state that is no JSON", Options{State: func(*http.Request) any { return func() {} }}, "/state", 500, "unsupported type"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			rec := httptest.NewRecorder()
			New(tt.options).Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, tt.path, nil))
			body, _ := io.ReadAll(rec.Body)
			if rec.Code != tt.code || !strings.Contains(string(body), tt.want) {
				t.Errorf("got %d %s, want %d %s", rec.Code, body, tt.code, tt.want)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := New(Options{Address: "127.0.0.1:0"}).Run(ctx); err != nil {
		t.Error(err)
	}
}

// What only looks on must not stop what works.
func TestRunWaitsForAnAddressThatIsInUse(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed, done := make(chan string, 10), make(chan error, 1)
	at := other.Addr().String()
	go func() { done <- New(Options{Address: at, Failed: func(why string) { failed <- why }}).Run(ctx) }()
	if why := <-failed; !strings.Contains(why, at) || !strings.Contains(why, "address already in use") {
		t.Errorf("told %q", why)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * tryAgain); ; time.Sleep(100 * time.Millisecond) {
		r, err := http.Get("http://" + at + "/healthz")
		if err == nil {
			_ = r.Body.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it does not serve although the address is free: %v", err)
		}
	}
	if len(failed) > 0 {
		t.Errorf("told again: %q", <-failed)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunTellsOfAnAddressThatCannotBe(t *testing.T) {
	if err := New(Options{Address: "256.0.0.1:1"}).Run(t.Context()); err == nil {
		t.Error("no error")
	}
}
