package netlab

import (
	"testing"
	"time"
)

// Eventually polls until problem returns the empty string, and returns how long
// that took. It fails the test with the last problem when the limit has passed.
func Eventually(tb testing.TB, limit time.Duration, problem func() string) time.Duration {
	tb.Helper()
	start := time.Now()
	for {
		p := problem()
		if p == "" {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			tb.Fatalf("after %v still: %s", limit, p)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Always polls until the time has passed, and fails the test as soon as problem
// returns anything.
func Always(tb testing.TB, d time.Duration, problem func() string) {
	tb.Helper()
	for start := time.Now(); time.Since(start) < d; time.Sleep(50 * time.Millisecond) {
		if p := problem(); p != "" {
			tb.Fatalf("after %v of %v: %s", time.Since(start).Round(time.Millisecond), d, p)
		}
	}
}
