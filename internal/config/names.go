package config

import "strings"

// name reads a DNS-1123 label.
func (s spot) name() string {
	got, ok := s.text()
	if !ok {
		return ""
	}
	if !isLabel(got) {
		s.fault("%q: write at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends", got)
		return ""
	}
	return got
}

// isLabel tells whether s is a label of RFC 1123, as the names of namespaces are.
func isLabel(s string) bool {
	return len(s) <= 63 && madeOf(s, "abcdefghijklmnopqrstuvwxyz0123456789", "-")
}

func isSubdomain(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !madeOf(part, "abcdefghijklmnopqrstuvwxyz0123456789", "-") {
			return false
		}
	}
	return len(s) <= 253
}

// isLabelKey tells whether key can be the key of a Kubernetes label: a name,
// perhaps with a subdomain and a slash before it.
func isLabelKey(key string) bool {
	prefix, name, ok := strings.Cut(key, "/")
	if !ok {
		prefix, name = "", key
	}
	return (!ok || isSubdomain(prefix)) && name != "" && isLabelValue(name)
}

func isLabelValue(v string) bool {
	const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return v == "" || len(v) <= 63 && madeOf(v, alnum, "-_.")
}

// madeOf tells whether s has characters of ends at both ends and of ends and
// middle between them.
func madeOf(s, ends, middle string) bool {
	return s != "" && strings.Trim(s, ends+middle) == "" &&
		strings.IndexByte(ends, s[0]) >= 0 && strings.IndexByte(ends, s[len(s)-1]) >= 0
}

// unique complains of a name that another item has already.
func (s spot) unique(seen map[string]string, value string) { s.uniqueAs(seen, value, value) }

// uniqueAs is unique for what can be written in several ways.
func (s spot) uniqueAs(seen map[string]string, value, written string) {
	if value == "" {
		return
	}
	if first, twice := seen[value]; twice {
		s.fault("%q: %s has it already; it must be unique", written, first)
		return
	}
	seen[value] = s.path
}
