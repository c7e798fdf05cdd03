package allocator

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBrokenConfigurationLeavesTheLastGoodOneInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
			synctest.Test(t, func(t *testing.T) {
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

func TestConfigurationIsInForceOnlyOnceItIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
