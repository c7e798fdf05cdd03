//go:build race

package allocator

import "runtime"

// The race detector makes the model some ten times slower.
const modelSteps = 100

// In a bubble of synctest all timers share one context of the race detector, and Go
// 1.26 does not guard it: two goroutines whose timers are due at once, each on a
// processor of its own, end the program with SIGSEGV (in runtime.maybeRunChan). The
// detector compares what happens before what, and needs no second processor.
func init() { runtime.GOMAXPROCS(1) }
