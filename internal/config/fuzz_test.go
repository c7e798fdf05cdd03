package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse wants no panic, every error of type Problems with something to read
// in it, and a canonical text that means the same.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, doc := range []string{pool, peer, "", "{}", "[]", "- a", "a: *b", "&a [*a]", "pools: [{ranges: [::/0, 0.0.0.0/0]}]"} {
		f.Add([]byte(doc))
	}
	f.Add([]byte(manifest("herald", peer)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, err := ExamineFile(data); err != nil && len(err.Error()) == 0 {
			t.Error("nothing to read in the error of ExamineFile")
		}
		c, err := Parse(data)
		if err == nil {
			wantRoundTrip(t, c)
			return
		}
		var ps Problems
		if !errors.As(err, &ps) || len(ps) == 0 {
			t.Fatalf("error of type %T: %v", err, err)
		}
		for _, p := range ps {
			if p.Message == "" {
				t.Errorf("nothing to read in %+v", p)
			}
		}
	})
}
