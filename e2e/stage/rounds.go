package stage

import (
	"os"
	"strconv"
	"time"
)

// Rounds is how often a test repeats what it times: once, or as often as
// HERALD_ROUNDS says, as in `make bench`, which prints medians.
func Rounds() int {
	if n, err := strconv.Atoi(os.Getenv("HERALD_ROUNDS")); err == nil && n > 1 {
		return n
	}
	return 1
}

// Bound is what a duration has to stay below: the limit for a median of several
// rounds, and twice that for a single one, which a busy machine may have delayed.
func Bound(limit time.Duration) time.Duration {
	if Rounds() > 1 {
		return limit
	}
	return 2 * limit
}
