package config

import (
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// text reads a string.
func (s spot) text() (string, bool) {
	switch {
	case s.node.Kind != yaml.ScalarNode, s.node.ShortTag() == "!!null":
		s.fault("%s; write a string", s.what())
	case s.node.ShortTag() != "!!str":
		s.fault("%s; write %q, with the quotes", s.what(), s.node.Value)
	default:
		return s.node.Value, true
	}
	return "", false
}

// oneOf reads a string that is one of a few.
func (s spot) oneOf(words ...string) (string, bool) {
	got, ok := s.text()
	if !ok {
		return "", false
	}
	for _, w := range words {
		if got == w {
			return got, true
		}
	}
	s.fault("%q: write %s", got, strings.Join(words, " or "))
	return "", false
}

func (s spot) boolean(into *bool) {
	switch {
	case s.node.Kind == yaml.ScalarNode && s.node.ShortTag() == "!!bool":
		*into = strings.EqualFold(s.node.Value, "true")
	case s.node.Kind == yaml.ScalarNode && s.node.ShortTag() == "!!str":
		s.fault("%q: write true or false, without quotes", s.node.Value)
	default:
		s.fault("%s; write true or false", s.what())
	}
}

// integer reads a decimal number within limits.
func (s spot) integer(low, high int64) (int64, bool) {
	if s.node.Kind != yaml.ScalarNode {
		s.fault("%s; write a whole number from %d to %d", s.what(), low, high)
		return 0, false
	}
	n, err := strconv.ParseInt(s.node.Value, 10, 64)
	switch {
	case err == nil && s.node.ShortTag() == "!!str":
		s.fault("%q: a string; write %d, without quotes", s.node.Value, n)
	case err != nil && s.node.ShortTag() == "!!str":
		s.fault("%q: write a whole number from %d to %d", s.node.Value, low, high)
	case err != nil, n < low, n > high, strconv.FormatInt(n, 10) != s.node.Value:
		// YAML reads 010 as 8 and 0x1f as 31; whoever wrote it may not know.
		s.fault("%s: write a whole number from %d to %d", s.node.Value, low, high)
	default:
		return n, true
	}
	return 0, false
}

// number is integer for where a fault needs no handling.
func (s spot) number(low, high int) int {
	n, _ := s.integer(int64(low), int64(high))
	return int(n)
}

// duration reads a length of time within limits.
func (s spot) duration(low, high, step time.Duration) (time.Duration, bool) {
	if s.node.Kind == yaml.ScalarNode && s.node.ShortTag() == "!!int" {
		s.fault("%s: has no unit; write %ss", s.node.Value, s.node.Value)
		return 0, false
	}
	if s.node.Kind != yaml.ScalarNode || s.node.ShortTag() != "!!str" {
		s.fault("%s; write a duration such as 90s or 5m", s.what())
		return 0, false
	}
	d, err := time.ParseDuration(s.node.Value)
	switch {
	case err != nil:
		s.fault("%q: not a duration; write one such as 90s or 5m", s.node.Value)
	case d < low || d > high:
		s.fault("%q: write a duration from %s to %s", s.node.Value, short(low), short(high))
	case d%step != 0 && step == time.Second:
		s.fault("%q: write whole seconds, such as %ds", s.node.Value, int64(math.Ceil(d.Seconds())))
	case d%step != 0:
		s.fault("%q: write whole milliseconds, such as %s", s.node.Value, short(d.Truncate(step)+step))
	default:
		return d, true
	}
	return 0, false
}

// short is a duration as people write it: 5m rather than 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// autoOrOff reads auto or off. Other YAML readers take a plain off for
// false, and a file that passed through one of them has it so.
func (s spot) autoOrOff() bool {
	if s.node.ShortTag() == "!!bool" {
		on, _ := strconv.ParseBool(s.node.Value)
		return on
	}
	word, _ := s.oneOf("auto", "off")
	return word == "auto"
}
