package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/cluster"
)

func documentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryKeyIsDocumented(t *testing.T) {
	text := documentation(t)
	for _, key := range keysOfType(reflect.TypeFor[wireConfig]()) {
		if !strings.Contains(text, "`"+key+"`") && !strings.Contains(text, "."+key+"`") {
			t.Errorf("docs/configuration.md does not mention `%s`", key)
		}
	}
	for _, name := range []string{
		cluster.Class, cluster.AnnotationAddresses, cluster.AnnotationPool, cluster.AnnotationSharingKey,
		cluster.ConditionAllocated, cluster.LabelExclude, APIVersion,
		opIn, opNotIn, opExists, opDoesNotExist,
	} {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/configuration.md does not mention `%s`", name)
		}
	}
}

// keysOfType is every key that the canonical text can have. That Parse knows
// them all is what the round trips show.
func keysOfType(t reflect.Type) (keys []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if key != "" { // else its keys are in line
			keys = append(keys, key)
		}
		keys = append(keys, keysOfType(t.Field(i).Type)...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// The wire types and the readers each name every key: no reader may know one
// that the canonical text cannot say.
func TestReadersKnowNoOtherKeys(t *testing.T) {
	_, err := Parse([]byte(`apiVersion: heraldlb.io/v1
zzz: 0
pools:
- name: a
  ranges: [192.0.2.0/24]
  zzzzzz: 0
  serviceSelector: {zzzzzz: 0, matchExpressions: [{key: a, operator: Exists, zzzzzz: 0}]}
peers:
- name: a
  addressFrom: {nodeLabel: a, zzzzzz: 0}
  asnFrom: {nodeLabel: a, zzzzzz: 0}
  sourceAddressFrom: {nodeLabel: a, zzzzzz: 0}
  weights: addPath
  addPath: {prefixes: [10.0.0.0/24], zzzzzz: 0}
  zzzzzz: 0
  overrides: [{nodeSelector: {matchLabels: {a: b}, zzzzzz: 0}, port: 1, zzzzzz: 0}]
bfdProfiles: [{name: a, zzzzzz: 0}]
advertisements: [{zzzzzz: 0}]
bgp: {asn: 2, zzzzzz: 0, weights: {zzzzzz: 0}, overrides: [{nodeSelector: {matchLabels: {a: b}}, asn: 3, zzzzzz: 0}]}
nodes: {zzzzzz: 0, fuse: {zzzzzz: 0}}
`))
	known := map[string]bool{}
	for _, line := range linesOf(t, err) {
		_, list, ok := strings.Cut(line, "; known here are ")
		if !ok {
			t.Errorf("not an unknown key: %s", line)
		}
		for key := range strings.SplitSeq(list, ", ") {
			known[key] = true
		}
	}
	want := map[string]bool{}
	for _, key := range keysOfType(reflect.TypeFor[wireConfig]()) {
		want[key] = true
	}
	if d := cmp.Diff(want, known); d != "" {
		t.Error(d)
	}
}

func TestDocumentedExamplesAreValid(t *testing.T) {
	n := 0
	for i, block := range strings.Split(documentation(t), "```yaml\n") {
		example, _, _ := strings.Cut(block, "```")
		if i == 0 || !strings.Contains(example, APIVersion) {
			continue
		}
		n++
		if _, err := Parse([]byte(example)); err != nil {
			t.Errorf("%v\nin\n%s", err, example)
		}
	}
	if n < 3 {
		t.Errorf("found only %d examples", n)
	}
}

func TestExamplesAreValid(t *testing.T) {
	n := 0
	files, err := filepath.Glob("../../manifests/examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), ConfigMapKey) {
			continue
		}
		n++
		if _, _, err := ExamineFile(data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if n < 2 {
		t.Errorf("found only %d examples", n)
	}
}
