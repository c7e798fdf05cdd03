package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/netlab"
)

func TestAliases(t *testing.T) {
	lab := netlab.New(t)
	node, router := lab.Node("node"), lab.Node("router")
	lan := lab.Switch("lan")
	lan.Attach(node, "eth0", "10.0.0.11/16", "fd00::11/64")
	lan.Attach(router, "eth0", "10.0.0.1/16", "fd00::1/64")
	node.Addr("eth0", "10.0.7.7/32")
	near4, near6 := netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("fd00::11")
	alias := func(a string) Alias {
		x := Alias{Addr: netip.MustParseAddr(a), Near: near4}
		if x.Addr.Is6() {
			x.Near = near6
		}
		return x
	}
	set := func(a *Aliases, want ...Alias) (err error) {
		node.Inside(t, func() { err = errors.Join(a.Add(t.Context(), want), a.Keep(t.Context(), want)) })
		return err
	}
	first := NewAliases(nil)
	if err := set(first, alias("10.0.1.11"), alias("10.0.2.11"), alias("fd00::1:11")); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.0.1.11", "10.0.2.11", "fd00::1:11"} {
		router.Inside(t, func() {
			// Nothing listens there, and only a host that has the address says so.
			if _, err := net.DialTimeout("tcp", net.JoinHostPort(a, "9"), 3*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("%s does not answer: %v", a, err)
			}
		})
	}
	if out := node.Run("ip", "-6", "route", "get", "fd00::1"); !strings.Contains(out, "src fd00::11 ") {
		t.Errorf("an alias is used to send from: %s", out)
	}
	if err := set(first, alias("10.0.7.7")); err == nil || !strings.Contains(err.Error(), "not from us") {
		t.Errorf("an address that the host had before: %v", err)
	}
	if err := set(first, Alias{Addr: netip.MustParseAddr("10.0.1.11"), Near: netip.MustParseAddr("10.9.9.9")}); err == nil {
		t.Error("an alias beside an address that the host lacks: no error")
	}
	// Another process finds what the first has left.
	if err := set(first, alias("10.0.1.11"), alias("10.0.2.11")); err != nil {
		t.Fatal(err)
	}
	second := NewAliases(nil)
	if err := set(second, alias("10.0.2.11")); err != nil {
		t.Fatal(err)
	}
	if got := second.List(); len(got) != 1 || got[0].String() != "10.0.2.11" {
		t.Errorf("the aliases are %v, want 10.0.2.11", got)
	}
	if err := set(second); err != nil {
		t.Fatal(err)
	}
	left := node.Run("ip", "-o", "addr", "show", "dev", "eth0")
	for _, want := range []string{"10.0.0.11/", "10.0.7.7/", "fd00::11/"} {
		if !strings.Contains(left, want) {
			t.Errorf("%s was removed, and is not ours:\n%s", want, left)
		}
	}
	for _, gone := range []string{"10.0.1.11", "10.0.2.11", "fd00::1:11"} {
		if strings.Contains(left, gone) {
			t.Errorf("%s is left over:\n%s", gone, left)
		}
	}
}
