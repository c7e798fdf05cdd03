package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: herald-system}\n---\n"

// manifest is a ConfigMap with the text in it.
func manifest(name, text string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\ndata:\n  config.yaml: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

func TestParseFile(t *testing.T) {
	const fault = "pools: [{name: a, ranges: [x]}]\n"
	text := Problem{"pools[0].ranges[0]", `"x": not a prefix such as 192.0.2.0/24`, 2}
	inMap := Problem{`data["config.yaml"]: pools[0].ranges[0]`, text.Message, 8}
	noLine, further := inMap, inMap
	noLine.Line, further.Line = 0, 12

	for _, row := range []struct {
		desc, file string
		want       Problems
	}{
		{"a configuration", pool, nil},
		{"a broken one", head + fault, Problems{text}},
		{"nothing", "", Problems{{Message: errEmpty.Error()}}},
		{"no YAML", "{", Problems{{Message: "not YAML: line 1: did not find expected node content"}}},
		{"two configurations", pool + "---\n" + pool, Problems{{Message: "more than one YAML document; write one, without a second ---"}}},
		{"a manifest", manifest("herald", pool), nil},
		{"a manifest of another name", manifest("herald-7b2f", pool), nil},
		{"a broken manifest", manifest("herald", head+fault), Problems{inMap}},
		{"after another document", namespace + manifest("herald", head+fault), Problems{further}},
		{"before a document that is no YAML", manifest("herald", pool) + "---\n{", Problems{{
			Message: "not YAML: line 12: did not find expected node content",
		}}},
		{"beside one of another program", manifest("other", "a: b") + "---\n" + manifest("herald", pool), nil},
		{"beside one without the key", "kind: ConfigMap\ndata: {}\n---\n" + manifest("herald", pool), nil},
		{"twice", manifest("herald", pool) + "---\n" + manifest("herald", pool), Problems{{
			Message: "2 ConfigMaps with the key config.yaml; leave one, or name one herald",
		}}},
		{"no key", "kind: ConfigMap\ndata: {config.yml: a}\n", Problems{{
			Message: "a ConfigMap without the key config.yaml in its data",
		}}},
		{"no data", "kind: ConfigMap\n", Problems{{
			Message: "a ConfigMap without the key config.yaml in its data",
		}}},
		{"a mapping for a text", "kind: ConfigMap\ndata:\n  config.yaml:\n    pools: []\n", Problems{{
			`data["config.yaml"]`, `a mapping; write text, after a "|"`, 4,
		}}},
		{"an empty text", manifest("herald", ""), Problems{{
			Path: `data["config.yaml"]`, Message: errEmpty.Error(),
		}}},
		{"in quotes", "kind: ConfigMap\ndata:\n  config.yaml: " + `"apiVersion: heraldlb.io/v1\npools: [{name: a, ranges: [x]}]"`, Problems{noLine}},
		{"folded", "kind: ConfigMap\ndata:\n  config.yaml: >\n    apiVersion: heraldlb.io/v1\n\n    " + fault, Problems{noLine}},
		{"in a List", "kind: List\nitems:\n- kind: Service\n- kind: ConfigMap\n  data: {config.yaml: ''}\n", Problems{{
			Path: `data["config.yaml"]`, Message: errEmpty.Error(),
		}}},
		{"a List without", "kind: List\n", Problems{
			{"apiVersion", "required; write heraldlb.io/v1", 1},
			{"pools", "required; write at least one pool, with name and ranges", 1},
			{"kind", `"List": write Config`, 1},
		}},
	} {
		t.Run(row.desc, func(t *testing.T) {
			c, err := ParseFile([]byte(row.file))
			var got Problems
			errors.As(err, &got)
			if d := cmp.Diff(row.want, got); d != "" || (c == nil) != (err != nil) {
				t.Errorf("config %v, error %v\n%s", c != nil, err, d)
			}
		})
	}
}
