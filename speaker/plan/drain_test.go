package plan_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/speaker/plan"
)

// A script is a list of "at <time> <what Compute says of each address> -> <what
// is announced>". Addresses are a and b; a capital one drains.
func TestDrain(t *testing.T) {
	tests := []struct {
		desc   string
		time   time.Duration
		script []string
	}{
		{"what is announced drains, then goes", 5 * time.Second, []string{
			"0s a -> a", "10s A -> A until 15s", "14s A -> A until 15s", "15s A -> -", "16s A -> -",
		}},
		{"what was never announced does not begin in order to drain", 5 * time.Second, []string{
			"0s A -> -", "1s a -> a", "2s A -> A until 7s",
		}},
		{"a dead endpoint is not waited for", 5 * time.Second, []string{
			"0s a -> a", "1s A -> A until 6s", "2s - -> -", "3s A -> -",
		}},
		{"what stops draining stays", 5 * time.Second, []string{
			"0s a -> a", "1s A -> A until 6s", "2s a -> a", "10s a -> a", "20s A -> A until 25s",
		}},
		{"each address has its own time", 5 * time.Second, []string{
			"0s ab -> ab", "1s Ab -> Ab until 6s", "3s AB -> AB until 6s", "6s AB -> B until 8s", "8s AB -> -",
		}},
		{"a drain time of nothing", 0, []string{"0s a -> a", "1s A -> -"}},
		{"a clock that was set back holds nothing for long", 5 * time.Second, []string{
			"10h a -> a", "10h A -> A until 10h0m5s", "1h A -> A until 1h0m5s", "1h0m5s A -> -",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.desc, func(t *testing.T) { runDrain(t, tt.time, tt.script) })
	}
}

func runDrain(t *testing.T, drainTime time.Duration, script []string) {
	midnight := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var drains plan.DrainState
	for _, line := range script {
		left, want, _ := strings.Cut(line, " -> ")
		at, addrs, _ := strings.Cut(left, " ")
		d, err := time.ParseDuration(at)
		if err != nil {
			t.Fatal(err)
		}
		in := drainTable(addrs)
		out, next, wake := drains.Drain(in, drainTime, midnight.Add(d))
		if len(in.Routes) != len(drainTable(addrs).Routes) || !in.Same(drainTable(addrs)) {
			t.Fatal("Drain changed its argument")
		}
		drains = next
		got := announcedText(t, out)
		if !wake.IsZero() {
			got += " until " + wake.Sub(midnight).String()
		}
		if short := strings.ReplaceAll(strings.ReplaceAll(got, "h0m0s", "h"), "m0s", "m"); got != want && short != want {
			t.Errorf("at %s, Compute says %s: announced %s, want %s", at, addrs, got, want)
		}
	}
}

// drainTable announces the addresses of the letters; capital ones drain.
func drainTable(letters string) plan.Table {
	var t plan.Table
	for _, l := range strings.Trim(letters, "-") {
		a := netip.AddrFrom4([4]byte{198, 51, 100, byte(l | 0x20)})
		drains := l&0x20 == 0
		t.Decisions = append(t.Decisions, plan.Decision{Addr: a, Announce: true, Draining: drains, Weight: 2, Reason: plan.NodeDraining})
		t.Routes = append(t.Routes, plan.Route{Peer: "r", Prefix: netip.PrefixFrom(a, 32), Weight: 2, Draining: drains})
	}
	return t
}

// announcedText is what a table announces, in letters. Its Decisions must say the same.
func announcedText(t *testing.T, table plan.Table) string {
	var routes, decisions string
	letter := func(a netip.Addr, drains bool) string {
		l := fmt.Sprintf("%c", a.As4()[3])
		if drains {
			return strings.ToUpper(l)
		}
		return l
	}
	for _, r := range table.Routes {
		routes += letter(r.Prefix.Addr(), r.Draining)
	}
	for _, d := range table.Decisions {
		if d.Announce {
			decisions += letter(d.Addr, d.Draining)
		} else if d.Draining || d.Weight != 0 {
			t.Errorf("%s is not announced, but %+v", d.Addr, d)
		}
	}
	if routes != decisions {
		t.Errorf("routes %s, but decisions say %s", routes, decisions)
	}
	if routes == "" {
		return "-"
	}
	return routes
}
