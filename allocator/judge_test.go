package allocator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/serve/servetest"
)

func TestBrokenConfigurationLeavesTheLastGoodOneInForce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1-192.0.2.2"))
		a, stop := w.lead(t)
		defer stop()
		w.create("a")
		synctest.Wait()
		w.configure(broken)
		w.create("b", "c")
		want(t, w, "a 192.0.2.1 Allocated", "b 192.0.2.2 Allocated", "c PoolExhausted")
		if m := w.message("c"); !strings.Contains(m, "newest configuration is broken") || !strings.Contains(m, "pools[0]") {
			t.Errorf("message of c: %s", m)
		}
		if m := w.message("b"); strings.Contains(m, "broken") {
			t.Errorf("message of b: %s", m)
		}
		note := "Warning ConfigurationBroken herald-system/herald "
		if w.eventsWith(note) != 1 {
			t.Errorf("Events %q", w.events)
		}
		for _, e := range w.events {
			if strings.HasPrefix(e, note) && (!strings.Contains(e, "pools[0].ranges[0]") || !strings.Contains(e, "pools[0].colour")) {
				t.Errorf("not all problems: %s", e)
			}
		}
		if n := len(a.State().ConfigProblems); n != 2 {
			t.Errorf("%d problems in /state", n)
		}

		w.configure(pool("192.0.2.1-192.0.2.3"))
		want(t, w, "a 192.0.2.1 Allocated", "b 192.0.2.2 Allocated", "c 192.0.2.3 Allocated")
		if w.eventsWith("Normal ConfigurationAccepted herald-system/herald") != 2 || len(a.State().ConfigProblems) != 0 {
			t.Errorf("Events %q", w.events)
		}
	})
}

func TestAcceptedConfigurationSurvivesARestartWithABrokenOne(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1-192.0.2.2"))
		w.create("a")
		_, stop := w.lead(t)
		synctest.Wait()
		w.configure(broken)
		synctest.Wait()
		stop()
		_, stop = w.lead(t)
		defer stop()
		w.create("b")
		want(t, w, "a 192.0.2.1 Allocated", "b 192.0.2.2 Allocated")
		if got := w.accepted.Annotations[AnnotationSource]; got != "1" {
			t.Errorf("accepted is of version %s", got)
		}
	})
}

func TestNothingIsHandedOutBeforeThereIsAValidConfiguration(t *testing.T) {
	for desc, first := range map[string]string{"broken": broken, "missing": ""} {
		t.Run(desc, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(first)
				w.create("a")
				_, stop := w.lead(t)
				defer stop()
				want(t, w, "a NoConfiguration")
				if m := w.message("a"); first == "" && !strings.Contains(m, "herald-system/herald does not exist") {
					t.Errorf("message: %s", m)
				}
				w.configure(pool("192.0.2.1/32"))
				want(t, w, "a 192.0.2.1 Allocated")
			})
		})
	}
}

func TestAConfigurationThatIsNotUTF8(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld("")
		w.configure("")
		w.set(func() { w.config.Data, w.config.Binary = nil, []string{ConfigKey} })
		a, stop := w.lead(t)
		defer stop()
		synctest.Wait()
		if p := a.State().ConfigProblems; len(p) != 1 || !strings.Contains(p[0], "save it as UTF-8") {
			t.Errorf("problems %q", p)
		}
	})
}

func TestConfigurationIsInForceOnlyOnceItIsPublished(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1/32"))
		w.publish = func() error { return errors.New("away") }
		w.create("a")
		_, stop := w.lead(t)
		defer stop()
		time.Sleep(time.Minute)
		want(t, w, "a NoConfiguration")
		w.set(func() { w.publish = nil })
		time.Sleep(2 * time.Second)
		want(t, w, "a 192.0.2.1 Allocated")
	})
}

func TestDeletedAcceptedConfigurationIsPublishedAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1/32"))
		_, stop := w.lead(t)
		defer stop()
		synctest.Wait()
		for _, change := range []func(){func() {}, func() { w.configure(broken) }} {
			change()
			w.set(func() { w.accepted = nil })
			time.Sleep(republish + time.Second)
			synctest.Wait()
			if w.accepted == nil || w.accepted.Annotations[AnnotationSource] != "1" {
				t.Errorf("accepted: %+v", w.accepted)
			}
		}
	})
}

func TestUnreadableAcceptedConfigurationIsReplaced(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.1/32"))
		_ = w.PublishConfigMap(t.Context(), "herald-accepted", nil, map[string]string{ConfigKey: "apiVersion: heraldlb.io/v9"})
		w.create("a")
		_, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.1 Allocated")
		if !strings.Contains(w.accepted.Data[ConfigKey], "heraldlb.io/v1") {
			t.Errorf("accepted: %s", w.accepted.Data[ConfigKey])
		}
	})
}

// TestWarningsStandInTheEventOfAnAcceptedConfiguration also wants them told again
// when they are others, and the configuration in force.
func TestWarningsStandInTheEventOfAnAcceptedConfiguration(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		odd := func(more string) string {
			return pool("192.0.2.1/32") + "advertisements: [{localPref: 50" + more + "}]\n"
		}
		const (
			accepted = "Warning ConfigurationAccepted herald-system/herald configuration "
			noPref   = " is valid, but:\nadvertisements[0].localPref: has no effect: it goes to peers of our own AS number alone, and tor are external; leave it out, or write med or prepend"
		)
		w := newWorld(odd(""))
		w.create("a")
		a, stop := w.lead(t)
		want(t, w, "a 192.0.2.1 Allocated")
		if got := w.events[0]; got != accepted+a.State().ConfigHash+noPref {
			t.Errorf("Event %q", got)
		}
		if got := a.State().ConfigWarnings; len(got) != 1 || len(a.State().ConfigProblems) != 0 {
			t.Errorf("/state has %q", got)
		}
		w.configure(odd(", med: 1"))
		synctest.Wait()
		if got := w.eventsWith(accepted + a.State().ConfigHash + noPref); got != 1 {
			t.Errorf("after a change: Events %q", w.events)
		}
		stop()

		// The next leader repeats nothing.
		n := len(w.events)
		a, stop = w.lead(t)
		defer stop()
		synctest.Wait()
		if len(w.events) != n || len(a.State().ConfigWarnings) != 1 {
			t.Errorf("after a change of leaders: Events %q, /state %q", w.events[n:], a.State().ConfigWarnings)
		}
		w.configure(pool("192.0.2.1/32"))
		synctest.Wait()
		if w.eventsWith("Normal ConfigurationAccepted herald-system/herald") != 1 || len(a.State().ConfigWarnings) != 0 {
			t.Errorf("without a cause: Events %q, /state %q", w.events[n:], a.State().ConfigWarnings)
		}

		// The same configuration, written so that there is something to warn of.
		const base = "peers: [{name: a, address: 10.0.0.1, asn: 1, weights: linkBandwidth}, {name: tor, address: 10.0.0.2, asn: 64512, "
		w.configure(strings.Replace(pool("192.0.2.1/32"), "peers: [{name: tor, address: 172.31.255.1, asn: 64512}]", base+"weights: community}]", 1))
		synctest.Wait()
		hash := a.State().ConfigHash
		if len(a.State().ConfigWarnings) != 1 {
			t.Errorf("/state %q", a.State().ConfigWarnings)
		}
		n = len(w.events)
		w.configure(strings.Replace(pool("192.0.2.1/32"), "peers: [{name: tor, address: 172.31.255.1, asn: 64512}]", base+"weights: community, community: 64513:10000}]", 1))
		synctest.Wait()
		if a.State().ConfigHash != hash || len(w.events) != n+1 || !strings.Contains(w.events[n], "by community 64513:10000") {
			t.Errorf("hash %s, was %s; Events %q", a.State().ConfigHash, hash, w.events[n:])
		}
	})
}

func TestNoteFitsIntoAnEvent(t *testing.T) {
	p := config.Problem{Path: "pools[0]", Message: strings.Repeat("x", 280)}
	for n, want := range map[int]string{
		1: "head\n" + p.String(),
		3: "head\n" + p.String() + "\n" + p.String() + "\n" + p.String(),
		5: "head\n" + p.String() + "\n" + p.String() + "\n" + p.String() + "\nand 2 more; `heraldctl check` shows all",
	} {
		if got := note("head", slices.Repeat(config.Problems{p}, n)); got != want || len(got) > 1000 {
			t.Errorf("of %d: %q", n, got)
		}
	}
}

// Whoever reads that a configuration is accepted may rely on it.
func TestAcceptedMeansPublished(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := newWorld(pool("192.0.2.1/32"))
		w.metrics = NewMetrics(reg)
		tries := 0
		forbidden := fmt.Errorf("publish: %w: configmaps is forbidden", cluster.ErrRefused)
		w.create("a", "b")
		a, stop := w.lead(t)
		defer stop()
		want(t, w, "a 192.0.2.1 Allocated", "b PoolExhausted")
		valid := func(want float64) {
			t.Helper()
			if got := servetest.Series(t, reg)["herald_config_valid"]; got != want {
				t.Errorf("herald_config_valid is %v", got)
			}
		}
		valid(1)
		hash := a.State().ConfigHash

		w.set(func() { w.publish = func() error { tries++; return forbidden } })
		w.configure(pool("192.0.2.1-192.0.2.2"))
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, w, "a 192.0.2.1 Allocated", "b PoolExhausted")
		valid(0)
		if n := w.eventsWith("Normal ConfigurationAccepted"); n != 1 {
			t.Errorf("Events %q", w.events)
		}
		if n := w.eventsWith("Warning ConfigurationNotPublished herald-system/herald the configuration is valid, but not in force"); n < 1 || n > 4 {
			t.Errorf("%d Events %q", n, w.events)
		}
		if tries > 140 {
			t.Errorf("%d tries in an hour", tries)
		}
		if p := a.State().ConfigProblems; len(p) != 1 || !strings.Contains(p[0], "forbidden") || a.State().ConfigHash != hash {
			t.Errorf("/state: %q", p)
		}
		if m := w.message("b"); !strings.Contains(m, "is valid, but not in force") || !strings.Contains(m, "herald-system/herald-accepted") {
			t.Errorf("message: %s", m)
		}

		w.set(func() { w.publish = nil })
		time.Sleep(31 * time.Second)
		want(t, w, "a 192.0.2.1 Allocated", "b 192.0.2.2 Allocated")
		valid(1)
		if n := w.eventsWith("Normal ConfigurationAccepted"); n != 2 || len(a.State().ConfigProblems) != 0 {
			t.Errorf("Events %q", w.events)
		}
	})
}

func TestAConfigurationThatCannotBePublishedIsAFault(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: heraldlb.io/v1\npools:\n")
	for i := range 8000 {
		fmt.Fprintf(&b, "- {name: p%d, ranges: [10.%d.%d.0/24]}\n", i, i/256, i%256)
	}
	if b.Len() > 500_000 {
		t.Fatal("the test's text is too long itself")
	}
	_, err := config.Parse([]byte(b.String()))
	if err == nil || !strings.HasPrefix(err.Error(), "too large: with all defaults written out it has ") {
		t.Errorf("got %v", err)
	}
}

// What a pool must not hold shows in the cluster only.
func TestAPoolThatHoldsWhatTheClusterHas(t *testing.T) {
	nodes := []cluster.Node{
		{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("10.77.0.11")}, External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}},
		{Name: "n2", Addrs: []netip.Addr{netip.MustParseAddr("10.77.0.12")}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")}},
	}
	for ranges, want := range map[string]string{
		"10.77.0.8/29":          "pools[0].ranges: pool public holds 10.77.0.11, an address of node n1; take it out of the pool",
		"203.0.113.0/24":        "pools[0].ranges: pool public holds 203.0.113.1, an address of node n1; take it out of the pool",
		"10.244.0.0/16":         "pools[0].ranges: pool public holds 10.244.2.0, which is in 10.244.2.0/24, the network of the pods on node n2; take it out of the pool",
		"10.244.2.128/25":       "pools[0].ranges: pool public holds 10.244.2.128, which is in 10.244.2.0/24, the network of the pods on node n2; take it out of the pool",
		"10.96.0.0/24":          "pools[0].ranges: pool public holds 10.96.0.1, the cluster IP of Service default/a, and so the cluster's network of Services; take it out of the pool",
		"10.77.0.13-10.77.0.20": "",
	} {
		t.Run(ranges, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(pool("192.0.2.1/32"))
				w.nodes = nodes
				w.create("a")
				w.edit(func(all *[]cluster.Service) { (*all)[0].ClusterIPs = []netip.Addr{netip.MustParseAddr("10.96.0.1")} })
				a, stop := w.lead(t)
				defer stop()
				synctest.Wait()
				w.configure(pool("192.0.2.1/32", ranges))
				synctest.Wait()
				if got := strings.Join(a.State().ConfigProblems, "\n"); got != want {
					t.Errorf("got %s", got)
				}
				if want != "" && w.eventsWith("Warning ConfigurationBroken herald-system/herald "+want) != 1 {
					t.Errorf("Events %q", w.events)
				}
			})
		})
	}
}

// A Node that joins with an address of a pool in force gets no competition, and the
// configuration can still be changed.
func TestANodeThatJoinsWithAnAddressOfAPool(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("10.77.0.10-10.77.0.12"))
		w.create("a")
		a, stop := w.lead(t)
		defer stop()
		want(t, w, "a 10.77.0.10 Allocated")
		w.set(func() { w.nodes = []cluster.Node{{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("10.77.0.11")}}} })
		w.create("b")
		want(t, w, "a 10.77.0.10 Allocated", "b 10.77.0.12 Allocated")
		w.configure(pool("10.77.0.10-10.77.0.13"))
		w.create("c")
		want(t, w, "a 10.77.0.10 Allocated", "b 10.77.0.12 Allocated", "c 10.77.0.13 Allocated")
		if got := a.State().ConfigWarnings; len(got) != 1 || !strings.Contains(got[0], "an address of node n1") {
			t.Errorf("warnings %q", got)
		}
	})
}
