package bgp

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
)

func TestHangingCallIsAFault(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, err := New(Options{HangAfter: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		go a.calls.do("add paths", func() error { <-release; return nil })
		time.Sleep(2 * time.Second)
		if err := a.Healthy(); err != nil {
			t.Errorf("after 2 s: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := a.Healthy(); err == nil || !strings.Contains(err.Error(), "gobgp has not answered for 4s: add paths") {
			t.Errorf("after 4 s: %v", err)
		}
		close(release)
		synctest.Wait()
		if err := a.Healthy(); err != nil {
			t.Errorf("after the call has returned: %v", err)
		}
	})
}
