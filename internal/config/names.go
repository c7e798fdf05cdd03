package config

import (
	"regexp"
	"strings"
)

// The syntax of names in Kubernetes: RFC 1123 labels and subdomains, and the
// "qualified names" of labels.
var (
	labelName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	qualifiedRE = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
)

// name reads a DNS-1123 label.
func (s spot) name() string {
	got, ok := s.text()
	if !ok {
		return ""
	}
	if len(got) > 63 || !labelName.MatchString(got) {
		s.fault("%q: write at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends", got)
		return ""
	}
	return got
}

func isLabelKey(key string) bool {
	name := key
	if prefix, rest, ok := strings.Cut(key, "/"); ok {
		name = rest
		if !isSubdomain(prefix) {
			return false
		}
	}
	return len(name) <= 63 && qualifiedRE.MatchString(name)
}

func isSubdomain(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !labelName.MatchString(part) {
			return false
		}
	}
	return len(s) <= 253
}

func isLabelValue(v string) bool {
	return v == "" || len(v) <= 63 && qualifiedRE.MatchString(v)
}

// unique complains of a name that another item has already.
func (s spot) unique(seen map[string]string, value string) {
	if value == "" {
		return
	}
	if first, twice := seen[value]; twice {
		s.fault("%q: %s has it already; it must be unique", value, first)
		return
	}
	seen[value] = s.path
}
