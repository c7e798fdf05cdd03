package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Parse reads a configuration. It is strict: whatever it does not know is an
// error. Its error is always of type Problems, with every fault in it.
//
// The document is read as a tree and not into a struct, because a decoder stops
// at its first fault and knows no paths.
func Parse(data []byte) (*Config, error) {
	c, _, err := Examine(data)
	return c, err
}

// Examine is Parse, and warns of what is valid but hardly does what was meant.
// There are no warnings of a document with faults.
func Examine(data []byte) (c *Config, warnings Problems, err error) {
	var f faults
	root, err := document(data)
	if err != nil {
		return nil, nil, Problems{{Message: err.Error()}}
	}
	c, d := readConfig(spot{root, "", &f})
	if ps := problems(f.list); len(ps) > 0 {
		return nil, nil, ps
	}
	if n := c.published(len(data)); n > mostPublished {
		return nil, nil, Problems{{Message: fmt.Sprintf("too large: with all defaults written out it has %d bytes, and a ConfigMap has room for %d of them; write fewer pools or peers, of more ranges each", n, mostPublished)}}
	}
	d.warn()
	return c, problems(f.warnings), nil
}

// mostPublished is how long the canonical text may be: a ConfigMap has 1 MiB for
// everything that is in it.
const mostPublished = 1<<20 - 4<<10

// published is the length of the canonical text of a configuration whose own text
// is so long. Most are far too short to be asked.
func (c *Config) published(length int) int {
	if length < mostPublished/32 {
		return 0
	}
	return len(c.YAML())
}

var errEmpty = errors.New("the document is empty; write apiVersion: " + APIVersion + " and at least one pool")

// document is the root of the one YAML document in data.
func document(data []byte) (*yaml.Node, error) {
	if err := wantUTF8(data); err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, errEmpty
	case err != nil:
		return nil, syntaxError(data, err)
	}
	root := doc.Content[0]
	if root.ShortTag() == "!!null" {
		return nil, errEmpty
	}
	switch err := d.Decode(&yaml.Node{}); {
	case err == nil:
		return nil, errors.New("more than one YAML document; write one, without a second ---")
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(data, err)
	}
	return root, nil
}

// wantUTF8 refuses what a YAML reader would take, and the API server would not: it
// puts such a text where Herald does not look.
func wantUTF8(data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return errors.New("written in UTF-16; save it as UTF-8 (in PowerShell: Out-File -Encoding utf8), or kubectl puts it into binaryData")
	case !utf8.Valid(data):
		return errors.New("not UTF-8; save it as UTF-8, or kubectl puts it into binaryData")
	}
	return nil
}

func syntaxError(data []byte, err error) error {
	msg := "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(msg, "cannot start any token") && bytes.ContainsRune(data, '\t') {
		msg += "; indent with spaces, not tabs"
	}
	if strings.Contains(msg, "incompatible YAML document") {
		msg += "; leave the line that begins with %YAML out"
	}
	return errors.New(msg)
}

// The words of onRemoval.
const (
	removalKeep    = "keep"
	removalRelease = "release"
)

// The words of compatibility.
const (
	compatibleMetalLB = "metallb"
	compatibleNone    = "none"
)

// readConfig also returns where in the document everything is.
func readConfig(root spot) (*Config, draft) {
	c := &Config{BGP: defaultBGP(), Nodes: defaultNodes()}
	var pools poolReader
	var peers peerReader
	var asn, neighbours spot
	var advertisements []advertisementAt
	root.object(fields{
		"apiVersion":   func(s spot) { s.oneOf(APIVersion) },
		"kind":         func(s spot) { s.oneOf("Config") },
		"pools":        func(s spot) { c.Pools = pools.read(s) },
		"serviceClass": func(s spot) { c.Scope = c.Scope.SetClass(s.serviceClass()) },
		"classless": func(s spot) {
			what, _ := s.oneOf(ClasslessServe, ClasslessIgnore)
			c.Scope.SkipClassless = what == ClasslessIgnore
		},
		"compatibility": func(s spot) {
			what, _ := s.oneOf(compatibleMetalLB, compatibleNone)
			c.Scope.MetalLB = what == compatibleMetalLB
		},
		"onRemoval": func(s spot) {
			what, _ := s.oneOf(removalKeep, removalRelease)
			c.ReleaseRemoved = what == removalRelease
		},
		"peers": func(s spot) { neighbours, c.Peers = s, peers.read(s) },
		"bgp":   func(s spot) { asn = readBGP(s, &c.BGP) },
		"nodes": func(s spot) { readNodes(s, &c.Nodes) },

		"advertisements": func(s spot) { advertisements = readAdvertisements(s) },
		"bfdProfiles":    func(s spot) { c.BFDProfiles = readBFDProfiles(s) },
	}, "apiVersion", "pools")

	pools.refuseOverlaps()
	peers.refuseInside(pools.ranges)
	peers.refuseClashes()
	c.BFDProfiles = withDefaultProfile(c.BFDProfiles)
	for _, s := range peers.profiles {
		s.wantKnown("BFD profile", bfdNames(c.BFDProfiles))
	}
	peers.settleWeights(c, advertisements)
	for _, a := range advertisements {
		a.check(c, peers.weights)
		c.Advertisements = append(c.Advertisements, a.Advertisement)
	}
	if len(c.Peers) > 0 && !asn.present() {
		neighbours.path = "bgp.asn"
		neighbours.fault("required as soon as there is a peer; write the AS number of the nodes")
	}
	return c, draft{c, root, pools.at, peers.drafts, peers.offers, advertisements}
}
