package images

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// checkSBOM compares the list of a binary with what is in it, and with the schema
// of CycloneDX.
func checkSBOM(t *testing.T, daemon, binary string) {
	t.Helper()
	tree := Tree{Version: version(t), Date: commitDate}
	text, err := SBOM(tree, daemon, Built{native, binary})
	if err != nil {
		t.Fatal(err)
	}
	validateSBOM(t, text)
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	main := bom.Metadata.Component
	sum := sha256.Sum256([]byte(read(t, binary)))
	if h := (*main.Hashes)[0]; main.Name != daemon || main.Version != tree.Version || h.Value != hex.EncodeToString(sum[:]) {
		t.Errorf("%s: the list is of %s %s with the hash %s; the binary has %x", daemon, main.Name, main.Version, h.Value, sum)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pkg:golang/stdlib@" + strings.TrimPrefix(runtime.Version(), "go")}
	for _, dep := range info.Deps {
		want = append(want, "pkg:golang/"+dep.Path+"@"+strings.ReplaceAll(dep.Version, "+", "%2B"))
	}
	var got []string
	for _, c := range *bom.Components {
		got = append(got, c.PackageURL)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: listed %v, linked %v", daemon, got, want)
	}
	if !slices.Equal(*(*bom.Dependencies)[0].Dependencies, want) {
		t.Errorf("%s: depends on %v", daemon, *bom.Dependencies)
	}
	hasGoBGP := slices.ContainsFunc(got, func(p string) bool { return strings.HasPrefix(p, "pkg:golang/github.com/osrg/gobgp/v4@v4.") })
	if hasGoBGP != (daemon == "herald-speaker") {
		t.Errorf("%s: lists gobgp: %v", daemon, hasGoBGP)
	}
}

// The library has the schemas in its module.
func validateSBOM(t *testing.T, text []byte) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	const at = "http://cyclonedx.org/schema/"
	for _, name := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schema.json"} {
		file := name
		if name == "jsf-0.82.schema.json" {
			file = "jsf-0.82.schemax.json"
		}
		schema, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, filepath.Join(strings.TrimSpace(string(out)), "schema", file))))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(at+name, schema); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile(at + "bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	bom, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(bom); err != nil {
		t.Error(err)
	}
	// And one that has a fault is found to have it.
	broken, err := jsonschema.UnmarshalJSON(bytes.NewReader(bytes.Replace(text, []byte(`"type": "library"`), []byte(`"type": "bookshop"`), 1)))
	if err != nil {
		t.Fatal(err)
	}
	if schema.Validate(broken) == nil {
		t.Error("the schema finds no fault in a list with one")
	}
}
