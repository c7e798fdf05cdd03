//go:build !race

package allocator

const modelSteps = 1000
