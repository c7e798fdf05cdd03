package l2

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/speaker/plan"
)

func TestNewRefuses(t *testing.T) {
	if _, err := New(Options{Rate: -1}); err == nil || err.Error() != "l2: Rate is -1: must not be negative" {
		t.Errorf("got %v", err)
	}
}

// TestApplyAroundRun calls Apply before, while and after Run runs.
func TestApplyAroundRun(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Apply(short, plan.Table{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before Run: %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		if err := a.Apply(t.Context(), plan.Table{}); err != nil {
			t.Errorf("an empty table: %v", err)
		}
		a.LinksChanged("eth0")
		a.Reannounce("test")
		if err := a.Run(ctx); err == nil {
			t.Error("Run may be called twice")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := a.Apply(t.Context(), plan.Table{}); err == nil || !strings.Contains(err.Error(), "has stopped") {
			t.Errorf("after Run: %v", err)
		}
	})
}

func TestByLink(t *testing.T) {
	for name, want := range map[string]string{
		"192.0.2.1":        "",
		"2001:db8::1":      "",
		"::ffff:192.0.2.1": "",
		"224.0.0.1":        "l2: claim of 224.0.0.1: not an address of a single host",
		"ff02::1":          "l2: claim of ff02::1: not an address of a single host",
		"::":               "l2: claim of ::: not an address of a single host",
		"255.255.255.255":  "l2: claim of 255.255.255.255: not an address of a single host",
	} {
		got, err := byLink([]plan.Claim{{Addr: netip.MustParseAddr(name), Links: []string{"a", "b"}}})
		switch {
		case want == "" && (err != nil || len(got) != 2 || got["a"][0] != netip.MustParseAddr(name).Unmap()):
			t.Errorf("%s: %v, %v", name, got, err)
		case want != "" && (err == nil || err.Error() != want || len(got) != 0):
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestLinkThatIsNone claims on what cannot have an Ethernet address. It needs no
// privilege.
func TestLinkThatIsNone(t *testing.T) {
	a, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	err = a.Apply(ctx, plan.Table{Claims: []plan.Claim{
		{Addr: vip4, Links: []string{"lo", "no-such-link"}},
		{Addr: netip.MustParseAddr("224.0.0.1"), Links: []string{"lo"}},
	}})
	for _, want := range []string{"link lo: has no Ethernet address", "link no-such-link: ", "claim of 224.0.0.1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %q", err, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
