package share

import (
	"fmt"
	"slices"
	"testing"
)

func TestRounded(t *testing.T) {
	nodes := func(weights ...uint32) (out []Weight) {
		for i, w := range weights {
			out = append(out, Weight{Node: fmt.Sprintf("n%d", i+1), Weight: w})
		}
		return out
	}
	for name, tt := range map[string]struct {
		nodes []Weight
		node  string // empty: none
		got   string
	}{
		"one of eight":        {nodes(1, 3, 4), "", ""},
		"one of a hundred":    {nodes(99, 1), "", ""},
		"one of two hundred":  {nodes(199, 1), "n2", "1.0 %"},
		"one of a thousand":   {nodes(500, 1, 499), "n2", "1.0 %"},
		"equal ones stay so":  {nodes(slices.Repeat([]uint32{7}, 150)...), "", ""},
		"one of twenty-one":   {nodes(20, 1), "", ""},
		"fifty nodes":         {nodes(append(slices.Repeat([]uint32{1}, 40), slices.Repeat([]uint32{2}, 10)...)...), "n41", "4.3 %"},
		"many small, one big": {nodes(append(slices.Repeat([]uint32{1}, 150), 3)...), "n151", "0.7 %"},
	} {
		t.Run(name, func(t *testing.T) {
			small, ok := Rounded(tt.nodes)
			if ok != (tt.node != "") {
				t.Fatalf("%+v, %v", small, ok)
			}
			if ok && (small.Node != tt.node || Percent(small.Got) != tt.got) {
				t.Errorf("%+v", small)
			}
		})
	}
}
