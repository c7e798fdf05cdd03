// Package share judges whether routers send each node the share of the flows that
// its weight asks for. It is pure: what every node has counted goes in, and a
// verdict with its numbers comes out.
package share

import "math"

const (
	// Least is how many flows a verdict takes.
	Least = 200

	// errorRate bounds how often flows that a router has spread right are called
	// wrong, at each look. A hundred addresses that are looked at every half a minute
	// are wrong by chance once in ten years.
	errorRate = 1e-9

	// A router may round: FRR writes whole percents, and hardware has some 64 places
	// or more for the next hops of a prefix. Who is off by no more than this is right:
	// a part of all flows, or of the node's own share, whichever is more.
	roundTotal = 0.01
	roundShare = 0.10
)

// compare tells whether counts are so far from the shares of the weights that
// chance, and a router's rounding, are out of the question.
func compare(weights []uint32, counts []uint64, rate float64) bool {
	var n uint64
	for _, c := range counts {
		n += c
	}
	if n == 0 || len(counts) < 2 {
		return false
	}
	for _, p := range [][]float64{exact(weights), exact(wholePercents(weights))} {
		if excess := float64(n) * distance(p, counts, n); logChance(excess, len(counts)) > math.Log(rate) {
			return false
		}
	}
	return true
}

// exact are the shares of weights.
func exact(weights []uint32) []float64 {
	var sum float64
	for _, w := range weights {
		sum += float64(w)
	}
	out := make([]float64, len(weights))
	for i, w := range weights {
		out[i] = float64(w) / sum
	}
	return out
}

// wholePercents are the weights that FRR makes of weights: it cuts percents off, but
// not below one. With many nodes that is more than a rounding.
func wholePercents(weights []uint32) []uint32 {
	var sum uint64
	for _, w := range weights {
		sum += uint64(w)
	}
	out := make([]uint32, len(weights))
	for i, w := range weights {
		out[i] = uint32(max(1, 100*uint64(w)/sum))
	}
	return out
}

// distance is the relative entropy between counts and the nearest shares that a
// router could have rounded p to: the least over all q near p of the sum of
// c/n*ln(c/n/q). The nearest is c/n itself, scaled, within the bounds of each; the
// scale is sought by halving.
func distance(p []float64, counts []uint64, n uint64) (entropy float64) {
	near := func(i int, scale float64) float64 {
		return min(max(float64(counts[i])/float64(n)*scale, p[i]-slack(p[i])), p[i]+slack(p[i]))
	}
	low, high, scale := 0.0, math.Inf(1), 1.0
	for range 100 {
		sum := 0.0
		for i := range p {
			sum += near(i, scale)
		}
		if sum < 1 {
			low = scale
		} else {
			high = scale
		}
		if scale = (low + high) / 2; math.IsInf(high, 1) {
			scale = 2 * low
		}
	}
	for i, c := range counts {
		if part := float64(c) / float64(n); c > 0 {
			entropy += part * math.Log(part/near(i, scale))
		}
	}
	return max(entropy, 0)
}

// slack is how far a router may be off. Nobody is rounded down to nothing.
func slack(p float64) float64 {
	return min(max(roundTotal, roundShare*p), p*(1-1e-6))
}

// logChance bounds the logarithm of the chance that flows which follow their shares
// come to such an excess, n times the relative entropy, among k nodes. It holds for
// any number of flows and any shares (Agrawal, Finite-Sample Concentration of the
// Multinomial in Relative Entropy, 2020, theorem I.2).
func logChance(excess float64, k int) float64 {
	free := float64(k - 1)
	if excess <= free {
		return 0
	}
	return -excess + free*(1+math.Log(excess/free))
}
