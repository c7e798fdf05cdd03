package kube

import (
	"context"
	"os"
	"time"
	"unicode/utf8"
)

// sleep waits, and tells whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// hostname is the pod's name, for people who read Events and Leases.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// truncate shortens to at most n bytes without cutting a character.
func truncate(s string, n int) string {
	const mark = "..."
	if len(s) <= n {
		return s
	}
	s = s[:n-len(mark)]
	for len(s) > 0 {
		r, size := utf8.DecodeLastRuneInString(s)
		if r != utf8.RuneError || size > 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + mark
}
