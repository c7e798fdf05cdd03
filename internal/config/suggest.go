package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
)

// suggestKey completes "unknown key": with the key that was meant, if one is
// near, else with all that are known.
func suggestKey(key string, known fields) string {
	if s := nearest(key, slices.Sorted(maps.Keys(known))); s != "" {
		return "; did you mean " + s + "?"
	}
	return "; known here are " + keysOf(known)
}

// nearest is the candidate that a person most likely meant, or empty.
func nearest(word string, candidates []string) string {
	word = cluster.Cut(word, 100)
	best, least := "", len(word)/3+2
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least && d < len(c) {
			best, least = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between two words.
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row = prev, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := prev[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(prev[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
