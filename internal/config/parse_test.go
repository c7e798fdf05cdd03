package config

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocumentFaults(t *testing.T) {
	const empty = "the document is empty; write apiVersion: heraldlb.io/v1 and at least one pool"
	const noPools = "pools: required; write at least one pool, with name and ranges"
	wantFaults(t, inDocument, map[string][]string{
		"":                {empty},
		"# nothing yet\n": {empty},
		"---\n":           {empty},
		"null":            {empty},
		"pools: [":        {"not YAML: line 1: did not find expected node content"},
		"pools:\n\t- a":   {"not YAML: line 2: found character that cannot start any token; indent with spaces, not tabs"},
		"a: b: c":         {"not YAML: mapping values are not allowed in this context"},
		"%PDF-1.4":        {"not YAML: found unexpected non-alphabetical character"},
		"hello":           {`"hello": a string; write a mapping with the keys advertisements, apiVersion, bfdProfiles, bgp, classless, compatibility, kind, nodes, onRemoval, peers, pools, serviceClass`},
		"[1, 2]":          {"a list; write a mapping with the keys advertisements, apiVersion, bfdProfiles, bgp, classless, compatibility, kind, nodes, onRemoval, peers, pools, serviceClass"},
		pool + "---\n" + pool: {
			"more than one YAML document; write one, without a second ---",
		},
		pool + "---\n{": {
			"not YAML: line 6: did not find expected node content",
		},
		"{}":                     {"apiVersion: required; write heraldlb.io/v1", noPools},
		head:                     {noPools},
		head + "pools:\n":        {noPools},
		head + "pools: []":       {noPools},
		head + "pools: {a: b}\n": {"pools: a mapping; write a list"},
		head + "pools: public\n": {`pools: "public": a string; write a list`},
		head + "pools: [public]\n": {
			`pools[0]: "public": a string; write a mapping with the keys announce, autoAssign, avoidBuggyIPs, excludeInterfaces, flowRescue, interfaces, ipFamily, name, namespaceSelector, namespaces, nodeSelector, priority, quarantine, ranges, reserved, retired, serviceSelector, sharing, weights`,
		},
		head + "pools: [~]\n": {
			`pools[0]: no value; write a mapping with the keys announce, autoAssign, avoidBuggyIPs, excludeInterfaces, flowRescue, interfaces, ipFamily, name, namespaceSelector, namespaces, nodeSelector, priority, quarantine, ranges, reserved, retired, serviceSelector, sharing, weights`,
		},
		pool[len(head):]:                      {"apiVersion: required; write heraldlb.io/v1"},
		"apiVersion: v1\n" + pool[len(head):]: {`apiVersion: "v1": write heraldlb.io/v1`},
		"apiVersion: 1\n" + pool[len(head):]:  {`apiVersion: 1: a number; write "1", with the quotes`},
		pool + "kind: Config\n":               nil,
		pool + "kind: Configuration\n":        {`kind: "Configuration": write Config`},
		pool + "peer: []\n":                   {"peer: unknown key; did you mean peers?"},
		pool + "Pools: []\n":                  {"Pools: unknown key; did you mean pools?"},
		pool + "communities: {}\n":            {"communities: unknown key; known here are advertisements, apiVersion, bfdProfiles, bgp, classless, compatibility, kind, nodes, onRemoval, peers, pools, serviceClass"},
		pool + "<<: {peers: []}\n":            {"<<: unknown key; known here are advertisements, apiVersion, bfdProfiles, bgp, classless, compatibility, kind, nodes, onRemoval, peers, pools, serviceClass"},
		pool + "? [a, b]\n: c\n":              {"a key that is a list; write a plain word"},
		pool + "peers:\nbgp:\n":               nil,
		pool + "peers: []\n":                  nil,
		pool + "pools: []\n":                  {"pools: duplicate key; it is on line 2 already"},
		pool + "- &p {name: two, ranges: []}\n- *p\n": {
			"pools[1].ranges: required; write at least one, such as [192.0.2.0/24]",
			"pools[2]: *p: aliases are not supported; write the value out",
		},
		pool + "x: &x 1\n" + "y: *x\n": {
			"x: unknown key; known here are advertisements, apiVersion, bfdProfiles, bgp, classless, compatibility, kind, nodes, onRemoval, peers, pools, serviceClass",
			"y: *x: aliases are not supported; write the value out",
		},
	})
}

// Every fault is reported, whatever kind it is of, in the order of the file.
func TestEveryFaultAtOnce(t *testing.T) {
	_, err := Parse([]byte(`apiVersion: heraldlb.io/v2
peers:
- name: tor-a
  address: 10.0.0.1
  asn: 0
  asn: 64512
- name: tor-a
  address: 10.0.0.1
  holdTime: 90
pools:
- name: Public
  ranges: [192.0.2.1/24, 198.51.100.0/24, 198.51.100.0/25]
- name: two
  rangess: [203.0.113.0/24]
  ranges: [2001:db8::/64, 198.51.100.128-198.51.100.130]
  ipFamily: IPv6
  autoAssign: "yes"
bpg: {}
`))
	want := []string{
		`apiVersion: "heraldlb.io/v2": write heraldlb.io/v1`,
		`bgp.asn: required as soon as there is a peer; write the AS number of the nodes`,
		`peers[0].asn: 0: is reserved by RFC 7607; write a number that is yours, or a private one such as 64512`,
		`peers[0].asn: duplicate key; it is on line 5 already`,
		`peers[1].asn: required; write the peer's AS number, or external, or asnFrom`,
		`peers[1].name: "tor-a": peers[0].name has it already; it must be unique`,
		`peers[1].address: "10.0.0.1": peers[0].address has it already, on the same nodes; give the peers nodeSelectors that no node has both of`,
		`peers[1].holdTime: 90: has no unit; write 90s`,
		`pools[0].name: "Public": write at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends`,
		`pools[0].ranges[0]: "192.0.2.1/24": has host bits; write 192.0.2.0/24`,
		`pools[0].ranges[2]: "198.51.100.0/25": overlaps pools[0].ranges[1], "198.51.100.0/24"`,
		`pools[1].rangess: unknown key; did you mean ranges?`,
		`pools[1].ranges[1]: "198.51.100.128-198.51.100.130": is IPv4, but the pool's ipFamily is IPv6; move it to another pool or leave ipFamily out`,
		`pools[1].ranges[1]: "198.51.100.128-198.51.100.130": overlaps pools[0].ranges[1], "198.51.100.0/24"`,
		`pools[1].autoAssign: "yes": write true or false, without quotes`,
		`bpg: unknown key; did you mean bgp?`,
	}
	if diff := cmp.Diff(want, linesOf(t, err)); diff != "" {
		t.Error(diff)
	}
}

func TestProblemsKnowTheirLines(t *testing.T) {
	_, err := Parse([]byte(pool + "- name: two\n  ranges: [x]\n"))
	want := Problems{{"pools[1].ranges[0]", `"x": not a prefix such as 192.0.2.0/24`, 6}}
	var got Problems
	if !errors.As(err, &got) || !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", err, want)
	}
}

func TestDidYouMean(t *testing.T) {
	keys := []string{"name", "ranges", "ipFamily", "autoAssign", "avoidBuggyIPs", "serviceSelector"}
	for word, want := range map[string]string{
		"rangess":             "ranges",
		"Ranges":              "ranges",
		"ragnes":              "ranges",
		"addresses":           "",
		"autoassign":          "autoAssign",
		"auto-assign":         "autoAssign",
		"avoidBuggyIps":       "avoidBuggyIPs",
		"avoid-buggy-ips":     "avoidBuggyIPs",
		"serviceSelectors":    "serviceSelector",
		"service_selector":    "serviceSelector",
		"ipfamilies":          "ipFamily",
		"anme":                "name",
		"x":                   "",
		"":                    "",
		"completelyDifferent": "",
	} {
		if got := nearest(word, keys); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}
