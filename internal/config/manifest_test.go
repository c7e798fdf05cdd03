package config

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: herald-system}\n---\n"

// manifest is a ConfigMap with the text in it.
func manifest(name, text string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\ndata:\n  config.yaml: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

const inUTF16 = "written in UTF-16; save it as UTF-8 (in PowerShell: Out-File -Encoding utf8), or kubectl puts it into binaryData"

func utf16le(text string) string {
	out := []byte("\xff\xfe")
	for _, u := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return string(out)
}

func TestExamineFile(t *testing.T) {
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
		{"UTF-16, as PowerShell writes it", utf16le(pool), Problems{{Message: inUTF16}}},
		{"a manifest in UTF-16", utf16le(manifest("herald", pool)), Problems{{Message: inUTF16}}},
		{"Latin 1", pool + "# caf\xe9\n", Problems{{Message: "not UTF-8; save it as UTF-8, or kubectl puts it into binaryData"}}},
		{"a version of YAML", "%YAML 1.2\n---\n" + pool, Problems{{
			Message: "not YAML: found incompatible YAML document; leave the line that begins with %YAML out",
		}}},
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
			c, _, err := ExamineFile([]byte(row.file))
			var got Problems
			errors.As(err, &got)
			if d := cmp.Diff(row.want, got); d != "" || (c == nil) != (err != nil) {
				t.Errorf("config %v, error %v\n%s", c != nil, err, d)
			}
		})
	}
}

func TestWarningsOfManifests(t *testing.T) {
	const wrong = `"herald-7b2f": Herald reads the ConfigMap herald and no other; write herald`
	inMap := Problem{`data["config.yaml"]: peers`, `there are none, so nobody announces the addresses of public, whose announce is [bgp]; add the routers, or write announce: [l2]`, 7}
	elsewhere := Problem{"metadata.namespace", `"metallb-system": Herald reads the ConfigMap of its own namespace, which is herald-system in its manifests; write the one where Herald runs`, 1}
	silent := head + "pools: [{name: public, ranges: [192.0.2.0/24], announce: [l2]}]\n"
	in := func(meta string) string {
		return "{kind: ConfigMap, metadata: {" + meta + "}, data: {config.yaml: \"" + strings.ReplaceAll(silent, "\n", "\\n") + "\"}}"
	}
	for _, row := range []struct {
		desc, file string
		want       Problems
	}{
		{"as it should be", manifest("herald", silent), nil},
		{"in its namespace", in("name: herald, namespace: herald-system"), nil},
		{"without a name, as from a generator", in(""), nil},
		{"of another name", manifest("herald-7b2f", silent), Problems{{"metadata.name", wrong, 4}}},
		{"elsewhere", in("name: herald, namespace: metallb-system"), Problems{elsewhere}},
		{"of another name and with a warning", manifest("herald-7b2f", pool), Problems{{"metadata.name", wrong, 4}, inMap}},
	} {
		t.Run(row.desc, func(t *testing.T) {
			_, got, err := ExamineFile([]byte(row.file))
			if d := cmp.Diff(row.want, got); d != "" || err != nil {
				t.Errorf("%v\n%s", err, d)
			}
		})
	}
}
