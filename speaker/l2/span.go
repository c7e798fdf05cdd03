package l2

import (
	"cmp"
	"slices"
)

// span is a range of 32-bit values, both ends included.
type span struct{ lo, hi uint32 }

// cover returns at most limit spans, sorted, that hold all the values. It is
// exact while the values form no more runs than that; beyond, it bridges the
// narrowest gaps, so that as few strangers as possible fall in.
func cover(values []uint32, limit int) []span {
	all := runs(values)
	if len(all) <= limit {
		return all
	}
	widest := make([]int, len(all)-1) // widest[k] is the gap after all[k]
	for i := range widest {
		widest[i] = i
	}
	slices.SortFunc(widest, func(a, b int) int {
		return cmp.Compare(all[b+1].lo-all[b].hi, all[a+1].lo-all[a].hi)
	})
	keep := slices.Sorted(slices.Values(widest[:limit-1]))
	out := make([]span, 0, limit)
	first := 0
	for _, gap := range append(keep, len(all)-1) {
		out = append(out, span{all[first].lo, all[gap].hi})
		first = gap + 1
	}
	return out
}

// runs joins neighbouring values.
func runs(values []uint32) []span {
	var out []span
	for _, v := range slices.Sorted(slices.Values(values)) {
		if n := len(out); n > 0 && v-out[n-1].hi <= 1 {
			out[n-1].hi = v
			continue
		}
		out = append(out, span{v, v})
	}
	return out
}
