// Package bubble runs tests in bubbles of testing/synctest, also under the race detector.
package bubble

import (
	"testing"
	"testing/synctest"
)

// Test is synctest.Test.
//
// In a bubble all timers share one context of the race detector, and Go 1.26 does not
// guard it: two goroutines whose timers are due at once, each on a processor of its own,
// end the program with SIGSEGV (in runtime.maybeRunChan). The detector compares what
// happens before what, and needs no second processor; so it gets none meanwhile.
func Test(t *testing.T, f func(*testing.T)) {
	defer oneProcessor()()
	synctest.Test(t, f)
}
