package cluster

import (
	"strconv"
	"unicode/utf8"
)

// Cut shortens a text to at most n bytes, without cutting a character. What comes
// from users has no bound: an annotation may have 256 KiB.
func Cut(s string, n int) string {
	const mark = "..."
	if len(s) <= n {
		return s
	}
	s = s[:n-len(mark)]
	for len(s) > 0 {
		r, size := utf8.DecodeLastRuneInString(s)
		if r != utf8.RuneError || size > 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + mark
}

// quoted is how much of a word is shown. No address is longer, and no name that
// Herald knows.
const quoted = 64

// Quote is a word that somebody else has written, fit to stand in a message: short,
// in quotes, and without control characters.
func Quote(s string) string { return strconv.Quote(Cut(s, quoted)) }

// Word is Quote without the quotes where the word is a plain one.
func Word(s string) string {
	if len(s) > quoted || s == "" {
		return Quote(s)
	}
	for _, r := range s {
		if r <= ' ' || r > '~' || r == '"' || r == '\\' {
			return Quote(s)
		}
	}
	return s
}
