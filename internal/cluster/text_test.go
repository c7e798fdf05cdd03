package cluster

import (
	"strings"
	"testing"
)

func TestTruncateKeepsCharactersWhole(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"short", "short"}, {"0123456789", "0123456789"}, {"0123456789a", "0123456..."}, {"012345äbcdefgh", "012345..."},
	} {
		if got := Cut(tt.in, 10); got != tt.want {
			t.Errorf("Cut(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestWordsOfOthers(t *testing.T) {
	for in, want := range map[string]string{
		"pool-1":                    "pool-1",
		"":                          `""`,
		"a b":                       `"a b"`,
		"a\x01":                     `"a\x01"`,
		strings.Repeat("x", 300000): `"` + strings.Repeat("x", 61) + `..."`,
	} {
		if got := Word(in); got != want {
			t.Errorf("%.20q: got %.80s", in, got)
		}
	}
	if got := Quote(strings.Repeat("\x01", 300000)); len(got) > 300 {
		t.Errorf("%d bytes", len(got))
	}
}
