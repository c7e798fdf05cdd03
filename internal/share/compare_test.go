package share

import (
	"fmt"
	"math"
	"math/rand"
	"slices"
	"testing"
)

// draw spreads flows by shares.
func draw(r *rand.Rand, p []float64, n int) []uint64 {
	out := make([]uint64, len(p))
	for range n {
		x, i := r.Float64(), 0
		for ; i < len(p)-1 && x >= p[i]; i++ {
			x -= p[i]
		}
		out[i]++
	}
	return out
}

var situations = [][]uint32{
	{1, 1},
	{1, 3, 4},
	{1, 9},
	{1, 99},
	{2, 3},
	{5, 5, 5, 5, 5},
	{1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
	slices.Repeat([]uint32{1}, 60),
	append(slices.Repeat([]uint32{1}, 30), slices.Repeat([]uint32{3}, 10)...),
	{1, 1, 1000},
}

// Flows that follow the weights are never called wrong, not even by a test that may
// err a thousand times as often as ours.
func TestNoFalseAlarm(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for _, weights := range situations {
		for _, n := range []int{Least, 1000, 5000} {
			for range 150 {
				if c := draw(r, exact(weights), n); compare(weights, c, 1000*errorRate) {
					t.Errorf("%v: %d are called wrong", weights, c)
				}
			}
		}
	}
}

// The bound itself, without any slack: binomial and multinomial draws exceed it no
// more often than it says.
func TestTheBoundHolds(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for _, weights := range situations {
		p := exact(weights)
		for _, n := range []int{50, 200, 2000} {
			const runs = 400
			for _, rate := range []float64{0.5, 0.1, 0.01} {
				over := 0
				for range runs {
					c := draw(r, p, n)
					if logChance(entropy(p, c, n), len(c)) <= math.Log(rate) {
						over++
					}
				}
				// Four standard deviations more would be by chance.
				if limit := rate*runs + 4*math.Sqrt(rate*runs); float64(over) > limit {
					t.Errorf("%v, %d flows: %d of %d exceed the bound of %v", weights, n, over, runs, rate)
				}
			}
		}
	}
}

// A router's rounding is no disagreement, however many flows there are.
func TestRounding(t *testing.T) {
	for _, tt := range []struct {
		what    string
		weights []uint32
		router  []uint32
	}{
		{"FRR", []uint32{1, 3, 4}, []uint32{12, 37, 50}},
		{"FRR, a small weight", []uint32{1, 1, 1000}, []uint32{1, 1, 99}},
		{"FRR, many nodes below two percent", append(slices.Repeat([]uint32{19}, 33), 373), append(slices.Repeat([]uint32{1}, 33), 37)},
		{"64 places", []uint32{3, 7, 11}, []uint32{9, 21, 34}},
		{"16 places", []uint32{1, 3, 4}, []uint32{2, 6, 8}},
		{"nothing to round", []uint32{1, 3, 4}, []uint32{1, 3, 4}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := rand.New(rand.NewSource(3))
			for _, n := range []int{1000, 30_000} {
				if c := draw(r, exact(tt.router), n); compare(tt.weights, c, errorRate) {
					t.Errorf("%d are called wrong", c)
				}
			}
			var c []uint64 // of so many, chance is too small to matter
			for _, p := range exact(tt.router) {
				c = append(c, uint64(p*10_000_000_000))
			}
			if compare(tt.weights, c, errorRate) {
				t.Errorf("%d are called wrong", c)
			}
		})
	}
}

// What is not a rounding is found, and so soon.
func TestDetection(t *testing.T) {
	for _, tt := range []struct {
		what            string
		weights, router []uint32
		within          int
	}{
		{"equal parts", []uint32{1, 3, 4}, []uint32{1, 1, 1}, 1000},
		{"equal parts, two nodes", []uint32{1, 3}, []uint32{1, 1}, 1000},
		{"equal parts, two nodes of nearly the same", []uint32{1, 2}, []uint32{1, 1}, 2000},
		{"a stranger beside, who gets his part", []uint32{1, 3, 4}, []uint32{1, 1, 1}, 1000},
		{"one node alone", []uint32{1, 3, 4}, []uint32{0, 0, 1}, Least},
		{"one node alone of equal ones", []uint32{1, 1}, []uint32{0, 1}, Least},
		{"one node never", []uint32{1, 3, 4}, []uint32{0, 3, 4}, 1000},
		{"FRR 8, bandwidths too large for it", []uint32{1, 3, 4}, []uint32{21, 65, 12}, 1000},
		{"equal parts, thirty nodes", append(slices.Repeat([]uint32{1}, 20), slices.Repeat([]uint32{5}, 10)...), slices.Repeat([]uint32{1}, 30), 1000},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := rand.New(rand.NewSource(4))
			missed := 0
			for range 200 {
				if !compare(tt.weights, draw(r, exact(tt.router), tt.within), errorRate) {
					missed++
				}
			}
			if missed > 0 {
				t.Errorf("%d of 200 runs of %d flows are called right", missed, tt.within)
			}
		})
	}
}

func TestWholePercents(t *testing.T) {
	for want, weights := range map[string][]uint32{
		"[12 37 50]": {1, 3, 4}, "[1 1 99]": {1, 1, 1000}, "[33 33 33]": {1, 1, 1}, "[50 50]": {7, 7}, "[29 71]": {29, 71},
	} {
		if got := fmt.Sprint(wholePercents(weights)); got != want {
			t.Errorf("%v: %s, not %s", weights, got, want)
		}
	}
}

// entropy is the relative entropy between counts and shares.
func entropy(p []float64, counts []uint64, n int) (sum float64) {
	for i, c := range counts {
		if part := float64(c) / float64(n); c > 0 {
			sum += part * math.Log(part/p[i])
		}
	}
	return sum
}
