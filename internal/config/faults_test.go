package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Each template is a configuration that is valid once its gap is.
const (
	head = "apiVersion: heraldlb.io/v1\n"
	pool = head + "pools:\n- name: public\n  ranges: [192.0.2.0/24]\n"
	peer = pool + "bgp: {asn: 64513}\npeers:\n- name: tor-a\n  address: 10.0.0.1\n  asn: 64512\n"

	inDocument = "%s"
	inRanges   = head + "pools:\n- name: public\n  ranges: [%s]\n"
	inPool     = pool + "  %s\n"
	inPeer     = peer + "  %s\n"
	inOverride = peer + "  overrides:\n  - nodeSelector: {matchLabels: {rack: a}}\n    %s\n"
	inWho      = pool + "bgp: {asn: 64513}\npeers:\n- {name: tor-a, asn: 64512, %s}\n"
	inAS       = pool + "bgp: {asn: 64513}\npeers:\n- {name: tor-a, address: 10.0.0.1, %s}\n"
	inAdvert   = peer + "advertisements:\n- {%s}\n"
	inBGP      = pool + "bgp: {%s}\n"
)

// wantFaults fills each key of the table into the template and compares all
// lines of the error. No lines: the configuration is valid.
func wantFaults(t *testing.T, template string, table map[string][]string) {
	t.Helper()
	for in, want := range table {
		t.Run(in, func(t *testing.T) {
			t.Helper()
			doc := in
			if template != inDocument {
				doc = fmt.Sprintf(template, in)
			}
			c, err := Parse([]byte(doc))
			if got := linesOf(t, err); !slices.Equal(got, want) {
				t.Errorf("\ngot  %s\nwant %s\nfor\n%s", strings.Join(got, "\n     "), strings.Join(want, "\n     "), doc)
			}
			if (c == nil) != (err != nil) {
				t.Errorf("config %v together with error %v", c, err)
			}
		})
	}
}

// linesOf also checks what all errors have in common.
func linesOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var ps Problems
	if !errors.As(err, &ps) || len(ps) == 0 {
		t.Fatalf("error of type %T, want Problems: %v", err, err)
	}
	if !slices.IsSortedFunc(ps, func(a, b Problem) int { return a.Line - b.Line }) {
		t.Errorf("not in the order of the file: %+v", ps)
	}
	return strings.Split(err.Error(), "\n")
}
