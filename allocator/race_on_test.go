//go:build race

package allocator

// The race detector makes the model some ten times slower.
const modelSteps = 100
