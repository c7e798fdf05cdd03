package images

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// SBOM lists what a binary is made of, as CycloneDX JSON. It comes from the
// binary itself, where the go command wrote every module that was linked.
func SBOM(t Tree, daemon string, b Built) ([]byte, error) {
	binary, err := os.ReadFile(b.Path)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("what %s is made of: %w", b.Path, err)
	}
	sum := sha256.Sum256(binary)
	main := cdx.Component{
		BOMRef: daemon, Type: cdx.ComponentTypeApplication, Name: daemon, Version: t.binaryVersion(),
		Description: descriptions[daemon],
		Hashes:      &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Licenses:    &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
		PackageURL:  purl(info.Main.Path, t.Version) + "#cmd/" + daemon,
		Properties:  &[]cdx.Property{{Name: "platform", Value: b.Platform.String()}},
	}
	parts := components(info)
	refs := make([]string, 0, len(parts))
	for _, p := range parts {
		refs = append(refs, p.BOMRef)
	}
	bom := cdx.NewBOM()
	// The same binary has the same list, so it has the same number.
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, sum[:]).URN()
	bom.Metadata = &cdx.Metadata{Timestamp: t.Date.Format(time.RFC3339), Component: &main}
	bom.Components = &parts
	// Which module needs which is not in the binary, only that all are in it.
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	var out bytes.Buffer
	err = cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
	return out.Bytes(), err
}

// components are the standard library and the modules, as scanners of
// vulnerabilities know them.
func components(info *debug.BuildInfo) []cdx.Component {
	std := strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")
	out := []cdx.Component{component("stdlib", std, "")}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		out = append(out, component(m.Path, m.Version, m.Sum))
	}
	return out
}

func component(path, version, sum string) cdx.Component {
	c := cdx.Component{
		BOMRef: purl(path, version), Type: cdx.ComponentTypeLibrary, Name: path, Version: version,
		Scope: cdx.ScopeRequired, PackageURL: purl(path, version),
	}
	if sum != "" {
		// The hash of go.sum is one over a list of files. No file has it, so it is
		// none of the component's hashes.
		c.Properties = &[]cdx.Property{{Name: "go.sum", Value: sum}}
	}
	return c
}

func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + url.QueryEscape(version)
}
