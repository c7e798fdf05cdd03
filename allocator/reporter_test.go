package allocator

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
)

func lastReport(w *world) (text string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n = len(w.reports); n > 0 {
		text = w.reports[n-1]
	}
	return text, n
}

// What is wrong stands in the API for as long as it is wrong.
func TestReport(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/31"))
		w.options.Status = statusName
		w.create("a", "b", "c")
		a, stop := w.lead(t)
		defer stop()
		time.Sleep(2 * reportPause)
		synctest.Wait()
		hash := a.State().ConfigHash
		got, n := lastReport(w)
		wanted := `apiVersion: heraldlb.io/v1
kind: AllocatorStatus
configuration:
    inForce: ` + hash + `
pools:
    - name: public
      family: IPv4
      inUse: 2
      free: 0
services:
    Allocated: 2
    PoolExhausted: 1
`
		if got != wanted {
			t.Errorf("got\n%s\nwant\n%s", got, wanted)
		}

		// Nothing changes: nothing is written.
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, again := lastReport(w); again != n {
			t.Errorf("%d reports of the same", again-n)
		}

		w.configure(broken)
		w.delete("a")
		w.delete("b")
		time.Sleep(2 * reportPause)
		synctest.Wait()
		got, _ = lastReport(w)
		for _, want := range []string{"inForce: " + hash, "    problems:\n        - 'pools[0].ranges[0]: ", "quarantine:\n    - address: 192.0.2.1\n      until: "} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in\n%s", want, got)
			}
		}
		time.Sleep(time.Hour)
		w.configure(pool("192.0.2.0/31"))
		time.Sleep(2 * reportPause)
		synctest.Wait()
		if got, _ = lastReport(w); strings.Contains(got, "problems") {
			t.Errorf("got\n%s", got)
		}
	})
}

// A burst of changes is a few reports.
func TestReportsAreFew(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(pool("192.0.2.0/24"))
		w.options.Status = statusName
		_, stop := w.lead(t)
		defer stop()
		for i := range 200 {
			w.create(fmt.Sprint("s", i))
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if _, n := lastReport(w); n > 6 {
			t.Errorf("%d reports in 20 s", n)
		}
		time.Sleep(reportPause)
		synctest.Wait()
		if got, _ := lastReport(w); !strings.Contains(got, "inUse: 200\n") {
			t.Errorf("the last report is\n%s", got)
		}
	})
}

// Addresses are handed out whether reports can be written and read, or not.
func TestReportsAreNoCondition(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld("")
		w.options.Status = statusName
		w.unread = fmt.Errorf("%w: forbidden", cluster.ErrRefused)
		w.create("a")
		_, stop := w.lead(t)
		w.configure(pool("192.0.2.0/31"))
		want(t, w, "a 192.0.2.0 Allocated")
		stop()

		w.unread = errors.New("connection refused")
		_, stop = w.lead(t)
		defer func() { stop() }()
		w.create("b")
		time.Sleep(10 * time.Second)
		want(t, w, "a 192.0.2.0 Allocated", "b")
		w.set(func() { w.unread = nil })
		time.Sleep(10 * time.Second)
		want(t, w, "a 192.0.2.0 Allocated", "b 192.0.2.1 Allocated")
	})
}
