package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestSplitDashes(t *testing.T) {
	rows := []struct{ desc, in, before, after string }{
		{"no dashes", "a b", "a b", ""},
		{"a command of its own", "a -- b -c", "a", "b -c"},
		{"the second pair belongs to the command", "a -- b -- c", "a", "b -- c"},
		{"nothing before", "-- b", "", "b"},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			before, after := splitDashes(strings.Fields(r.in))
			if strings.Join(before, " ") != r.before || strings.Join(after, " ") != r.after {
				t.Errorf("got %q and %q", before, after)
			}
		})
	}
}

func TestParsePairs(t *testing.T) {
	rows := map[string]string{
		"":             "map[] <nil>",
		"app=web":      "map[app:web] <nil>",
		"app=web,a=b=": "map[a:b= app:web] <nil>",
		"app":          `map[] label "app": write key=value`,
	}
	for in, want := range rows {
		got, err := parsePairs(in)
		if text := fmt.Sprint(got, " ", err); text != want {
			t.Errorf("%q: got %s, want %s", in, text, want)
		}
	}
}

func TestChoose(t *testing.T) {
	from := map[string]int{"kill": 1, "start": 2}
	got, rest, err := choose([]string{"start", "n1"}, from)
	if got != 2 || len(rest) != 1 || err != nil {
		t.Errorf("got %v, %v, %v", got, rest, err)
	}
	for _, args := range [][]string{nil, {"stop"}} {
		if _, _, err := choose(args, from); err == nil || err.Error() != "want kill or start" {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

// The lab starts relay and machine itself.
func TestUsageNamesEveryCommand(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if name != "relay" && name != "machine" && !strings.Contains(usage, "\n  "+name) {
			t.Errorf("%s is not explained", name)
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	err := dispatch(t.Context(), []string{"-name", "x", "fly"})
	if err == nil || err.Error() != "no command \"fly\"; `lab help` lists them" {
		t.Errorf("got %v", err)
	}
}
