package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// wantWarnings fills each key of the table into the template and compares all
// warnings. All of these configurations are valid.
func wantWarnings(t *testing.T, template string, table map[string][]string) {
	t.Helper()
	for in, want := range table {
		t.Run(in, func(t *testing.T) {
			t.Helper()
			doc := fmt.Sprintf(template, in)
			c, warnings, err := Examine([]byte(doc))
			if err != nil || c == nil {
				t.Fatalf("%v\nin\n%s", err, doc)
			}
			if got := textsOf(t, warnings); !slices.Equal(got, want) {
				t.Errorf("\ngot  %s\nwant %s\nfor\n%s", strings.Join(got, "\n     "), strings.Join(want, "\n     "), doc)
			}
		})
	}
}

// textsOf also checks what all warnings have in common.
func textsOf(t *testing.T, warnings Problems) (texts []string) {
	t.Helper()
	if !slices.IsSortedFunc(warnings, func(a, b Problem) int { return a.Line - b.Line }) {
		t.Errorf("not in the order of the file: %+v", warnings)
	}
	for _, w := range warnings {
		if w.Line == 0 {
			t.Errorf("without a line: %s", w)
		}
		texts = append(texts, w.String())
	}
	return texts
}

const (
	rackA = "nodeSelector: {matchLabels: {rack: a}}"
	rackB = "nodeSelector: {matchLabels: {rack: b}}"

	// twoPools are one for IPv4 and one for both families.
	twoPools = head + "bgp: {asn: 64513}\npools:\n- {name: public, ranges: [192.0.2.0/24]}\n- {name: both, ranges: [198.51.100.0/24, '2001:db8:5::/112']}\n"
	twoPeers = "peers:\n- {name: tor-a, address: 10.0.0.1, asn: 64512}\n- {name: tor-b, address: 10.0.0.2, asn: 64512}\n"
)

func TestWarningsOfSilence(t *testing.T) {
	wantWarnings(t, head+"pools:\n- {name: a, ranges: [192.0.2.0/24]}\n- {name: b, ranges: [198.51.100.0/24]%s}\n", map[string][]string{
		"":                       {`peers: there are none, so nobody announces the addresses of a, b, whose announce is [bgp]; add the routers, or write announce: [l2]`},
		", announce: [l2]":       {`peers: there are none, so nobody announces the addresses of a, whose announce is [bgp]; add the routers, or write announce: [l2]`},
		", announce: [bgp, l2]":  {`peers: there are none, so nobody announces the addresses of a, whose announce is [bgp]; add the routers, or write announce: [l2]`},
		"}\nbgp: {asn: 64513":    {`peers: there are none, so nobody announces the addresses of a, b, whose announce is [bgp]; add the routers, or write announce: [l2]`},
		"}\npeers: []\nnodes: {": {`peers: there are none, so nobody announces the addresses of a, b, whose announce is [bgp]; add the routers, or write announce: [l2]`},
	})
	wantWarnings(t, twoPools+twoPeers+"advertisements: [%s]\n", map[string][]string{
		"": nil,
		"{pools: [public]}": {
			`pools[1]: no entry of advertisements selects pool both, so BGP does not announce its addresses; add it to the pools of one`,
		},
		"{pools: [public]}, {pools: [both], nodeSelector: {matchLabels: {rack: a}}}": nil, // who knows
		"{peers: [tor-b]}": {
			`peers[0]: no entry of advertisements is for peer tor-a, so nothing is announced to it; add it to the peers of one`,
		},
		"{pools: [public], peers: [tor-a]}, {pools: [both], peers: [tor-b]}": nil,
	})
	wantWarnings(t, head+"pools:\n- {name: a, ranges: [192.0.2.0/24], announce: [%s]}\n- {name: b, ranges: [198.51.100.0/24]}\nbgp: {asn: 1}\npeers: [{name: r, address: 10.0.0.1, asn: 2}]\nadvertisements: [{pools: [b]}]\n", map[string][]string{
		"l2":      nil,
		"bgp":     {`pools[0]: no entry of advertisements selects pool a, so BGP does not announce its addresses; add it to the pools of one`},
		"bgp, l2": {`pools[0]: no entry of advertisements selects pool a, so BGP does not announce its addresses; add it to the pools of one, or write announce: [l2]`},
	})
}

func TestWarningsOfAttributes(t *testing.T) {
	const (
		noPref    = `advertisements[0].localPref: has no effect: it goes to peers of our own AS number alone, and tor-a are external; leave it out, or write med or prepend`
		noPrepend = `advertisements[0].prepend: has no effect: it goes to peers of other AS numbers alone, and tor-a are internal; leave it out, or write localPref`
	)
	const in = pool + "advertisements: [{localPref: 200, prepend: 2}]\nbgp: {asn: 64513%s}\n"
	wantWarnings(t, fmt.Sprintf(in, "")+"peers: [{name: tor-a, address: 10.0.0.1, %s}]\n", map[string][]string{
		"asn: 64512":                  {noPref},
		"asn: external":               {noPref},
		"asn: 64513":                  {noPrepend},
		"asn: 64513, localASN: 64999": {noPref},
		"asn: 64999, localASN: 64999": {noPrepend},
		"asnFrom: {nodeLabel: as}":    nil,
		"asn: 64512, overrides: [{nodeSelector: {matchLabels: {rack: a}}, asn: 64513}]":                              nil,
		"asn: 64512}, {name: inside, address: 10.0.0.2, asn: 64513":                                                  nil,
		"asn: 64512}, {name: b, asn: 1, address: 10.0.0.2}, {name: c, asn: 2, address: 10.0.0.3":                     {strings.Replace(noPref, "tor-a are", "tor-a, b, c are", 1)},
		"asn: 64512}, {name: b, asn: 1, addressRange: 10.0.0.0/30}, {name: c, asn: 64513, address: 10.0.0.3":         nil,
		"asn: 64513}, {name: b, asn: 64513, address: 10.0.0.2}, {name: c, asn: 64513, address: 10.0.0.3, port: 1179": {strings.Replace(noPrepend, "tor-a are", "tor-a, b, c are", 1)},
	})
	wantWarnings(t, fmt.Sprintf(in, ", overrides: [{nodeSelector: {matchLabels: {rack: b}}, asn: 64600}]")+"peers: [{name: tor-a, address: 10.0.0.1, asn: %s}]\n", map[string][]string{
		"64512": {noPref},
		"64513": nil,
		"64600": nil,
	})
	wantWarnings(t, twoPools+"peers: [{name: out, address: 10.0.0.1, asn: 1}, {name: in, address: 10.0.0.2, asn: 64513}]\nadvertisements: [{%s}, {}]\n", map[string][]string{
		"localPref: 50":               nil,
		"peers: [in], localPref: 50":  nil,
		"peers: [out], localPref: 50": {`advertisements[0].localPref: has no effect: it goes to peers of our own AS number alone, and out are external; leave it out, or write med or prepend`},
		"peers: [in], prepend: 1":     {`advertisements[0].prepend: has no effect: it goes to peers of other AS numbers alone, and in are internal; leave it out, or write localPref`},
		"peers: [in], prepend: 0":     nil,
	})
}

func TestWarningsOfCommunitiesThatMeanWeights(t *testing.T) {
	const why = ` gets weights by link bandwidth alone, and a router that knows none, such as BIRD, spreads equally; write another one here, or the peer's community, such as 64513:20000`
	wantWarnings(t, twoPools+twoPeers+"advertisements: [{%s}, {}]\n", map[string][]string{
		"communities: ['64513:100']":                    nil,
		"communities: ['64513:10000', '64513:10257']":   nil,
		"communities: ['64513:10001']":                  {`advertisements[0].communities[0]: "64513:10001": a community of weights, by default; so tor-a, tor-b` + why},
		"communities: [no-export, '64513:10256']":       {`advertisements[0].communities[1]: "64513:10256": a community of weights, by default; so tor-a, tor-b` + why},
		"communities: ['64513:10001'], peers: [tor-b]":  {`advertisements[0].communities[0]: "64513:10001": a community of weights, by default; so tor-b` + why},
		"communities: ['64512:10001', '64513:10001:1']": nil,
		"communities: ['64513:10001'], pools: [both]":   {`advertisements[0].communities[0]: "64513:10001": a community of weights, by default; so tor-a, tor-b` + why},
	})
}

func TestWarningsOfAddPath(t *testing.T) {
	const (
		width = ` a node alone may have 3 next hops, its own address and 2 aliases, so weights become small or equal; write 3 for each node that has pods of one Service, if the router installs so many`
		no6   = `peers[0].addPath.prefixes: none is of IPv6, so each node has one next hop for the IPv6 addresses of both, whatever its weight; add prefixes of IPv6`
		no4   = `peers[0].addPath.prefixes: none is of IPv4, so each node has one next hop for the IPv4 addresses of public, both, whatever its weight; add prefixes of IPv4`
	)
	wantWarnings(t, twoPools+"peers:\n- name: a\n  address: 10.0.0.1\n  asn: 1\n  weights: addPath\n  addPath: {%s\n", map[string][]string{
		"prefixes: [10.1.0.0/24, 10.2.0.0/24, 'fd00:1::/64']}":             nil,
		"prefixes: [10.1.0.0/24, 10.2.0.0/24, 'fd00:1::/64'], width: 3}":   nil,
		"prefixes: [10.1.0.0/24, 10.2.0.0/24, 'fd00:1::/64'], width: 2}":   {`peers[0].addPath.width: 2:` + width},
		"prefixes: ['fd00:2::/64', 10.1.0.0/24, 'fd00:1::/64'], width: 2}": {`peers[0].addPath.width: 2:` + width},
		"prefixes: [10.1.0.0/24]}":                                         {no6},
		"prefixes: ['fd00:1::/64']}":                                       {no4},
		"prefixes: [10.1.0.0/24]}\n- {name: b, address: 10.0.0.2, asn: 1}\nadvertisements: [{pools: [public]}, {pools: [both], peers: [b]}]":                               nil,
		"prefixes: [10.1.0.0/24]}\n  nodeSelector: {matchLabels: {rack: a}}\nadvertisements: [{pools: [public]}, {pools: [both], nodeSelector: {matchLabels: {rack: b}}}]": nil,
		"prefixes: [10.1.0.0/24]}\n  overrides: [{nodeSelector: {matchLabels: {rack: a}}, port: 1179}]":                                                                    {no6},
		"prefixes: [10.1.0.0/24, 'fd00:1::/64']}\n  overrides: [{nodeSelector: {matchLabels: {rack: a}}, addPath: {prefixes: [10.1.0.0/24]}}]": {
			`peers[0].overrides[0].addPath.prefixes: none is of IPv6, so each node has one next hop for the IPv6 addresses of both, whatever its weight; add prefixes of IPv6`,
		},
	})
}

func TestWarningsOfEncodings(t *testing.T) {
	const same = `, of the same addresses; most use weights only if all paths of an address have them, so write the same for all nodes`
	one := func(at, told, others, from string) []string {
		return []string{at + " the router 10.0.0.1 gets " + told + " from these nodes, and " + others + " from those of " + from + same}
	}
	const all = "weights by linkBandwidth and community"
	wantWarnings(t, twoPools+"peers:\n- {name: tor, address: 10.0.0.1, asn: 64512, %s}\n", map[string][]string{
		"weights: none": nil,
		"overrides: [{" + rackA + ", holdTime: 9s}]":                                                        nil,
		"overrides: [{" + rackA + ", weights: none}]":                                                       one(`peers[0].overrides[0].weights: "none":`, "no weights", all, "peers[0]"),
		"weights: community, overrides: [{" + rackA + ", weights: community}]":                              nil,
		"weights: community, overrides: [{" + rackA + ", community: 64512:100}]":                            one(`peers[0].overrides[0].community: "64512:100":`, "weights by community 64512:100", "weights by community", "peers[0]"),
		"linkBandwidth: transitive, overrides: [{" + rackA + ", linkBandwidth: both}]":                      one(`peers[0].overrides[0].linkBandwidth: "both":`, all, "weights by linkBandwidth (transitive) and community", "peers[0]"),
		"overrides: [{" + rackA + ", weights: [linkBandwidth]}]":                                            one(`peers[0].overrides[0].weights:`, "weights by linkBandwidth", all, "peers[0]"),
		"overrides: [{" + rackA + ", weights: addPath, addPath: {prefixes: [10.1.0.0/24, 'fd00:1::/64']}}]": one(`peers[0].overrides[0].weights: "addPath":`, "weights by addPath", all, "peers[0]"),
		"weights: none, overrides: [{" + rackA + ", weights: community}, {" + rackB + ", weights: community}]": {
			one(`peers[0].overrides[0].weights: "community":`, "weights by community", "no weights", "peers[0]")[0],
			one(`peers[0].overrides[1].weights: "community":`, "weights by community", "no weights", "peers[0]")[0],
		},
		// Another router, which has no address in common with the first but by intent.
		"overrides: [{" + rackA + ", weights: community, address: 10.1.0.1}]": nil,
		// No AS number of 32 bits fits a community; nobody has written anything.
		"overrides: [{" + rackA + ", localASN: 4200000000}]": nil,
		// Nodes that announce no address in common.
		rackA + ", overrides: [{" + rackB + ", weights: none}]": nil,
	})
	// Each node announces the addresses of its rack, and then those of all racks, too.
	wantWarnings(t, head+"bgp: {asn: 64513}\npools:\n- {name: a, ranges: [192.0.2.0/24], "+rackA+"}\n- {name: b, ranges: [198.51.100.0/24], "+rackB+", %s}\npeers:\n- {name: tor, address: 10.0.0.1, asn: 64512, overrides: [{"+rackB+", weights: none}]}\n", map[string][]string{
		"priority: 1": nil,
		"priority: 1}\n- {name: c, ranges: [203.0.113.0/24]":                 one(`peers[0].overrides[0].weights: "none":`, "no weights", all, "peers[0]"),
		"priority: 1}\n- {name: c, ranges: [203.0.113.0/24], weights: off":   nil,
		"priority: 1}\n- {name: c, ranges: [203.0.113.0/24], announce: [l2]": nil,
	})
	wantWarnings(t, twoPools+"peers:\n- {name: tor, address: 10.0.0.1, asn: 64512, "+rackA+"}\n- {name: tor-too, address: 10.0.0.1, asn: 64512, %s}\n", map[string][]string{
		rackB:                     nil,
		rackB + ", weights: none": one(`peers[1].weights: "none":`, "no weights", all, "peers[0]"),
		rackB + ", weights: none}\nadvertisements: [{pools: [public], peers: [tor]}, {pools: [both], peers: [tor-too]}]\nnodes: {": nil,
	})

	cannot := func(at, told, others, remedy string) []string {
		return []string{at + " peer tor-b gets " + told + ", and peer tor-a " + others + ", of the same addresses; a router behind both cannot compare them; " + remedy}
	}
	const (
		noForm    = "leave linkBandwidth out, and both get both forms"
		noWeights = "leave weights and community out, and both get linkBandwidth and community"
		bare      = "asn: 64512"
	)
	two := func(a, b string) string {
		return "- {name: tor-a, address: 10.0.0.1, " + a + "}\n- {name: tor-b, address: 10.0.0.2, " + b + "}\n"
	}
	wantWarnings(t, twoPools+"peers:\n%s", map[string][]string{
		two(bare, bare): nil,
		two(bare, bare+", linkBandwidth: transitive"):                                           nil,
		two(bare, bare+", weights: community"):                                                  nil,
		two(bare, bare+", localASN: 4200000000"):                                                nil,
		two(bare, bare+", community: 64512:100"):                                                nil,
		two(bare, bare+", weights: addPath, addPath: {prefixes: [10.1.0.0/24, 'fd00:1::/64']}"): nil, // other routers can do nothing else
		two(bare+", linkBandwidth: nonTransitive", bare+", linkBandwidth: transitive"):          nil, // they have the community in common
		two(bare+", linkBandwidth: nonTransitive, weights: linkBandwidth", bare+", linkBandwidth: transitive"): cannot(
			`peers[1].linkBandwidth: "transitive":`, "weights by linkBandwidth (transitive) and community", "weights by linkBandwidth (nonTransitive)", noForm),
		two(bare+", weights: linkBandwidth", bare+", weights: community"): cannot(
			`peers[1].weights: "community":`, "weights by community", "weights by linkBandwidth", noWeights),
		two(bare, bare+", weights: community, community: 64512:100"): cannot(
			`peers[1].weights: "community":`, "weights by community 64512:100", all, noWeights),
		two(bare, bare+", weights: none"): cannot(`peers[1].weights: "none":`, "no weights", all, noWeights),
		two(bare, bare+", weights: none, "+rackA) + "advertisements: [{nodeSelector: {matchLabels: {rack: b}}}]\n": {
			// Neither gets anything of the other's; that the second gets nothing depends on labels.
		},
		two(bare+", weights: none", bare): {
			`peers[0].weights: "none": peer tor-a gets no weights, and peer tor-b ` + all + `, of the same addresses; a router behind both cannot compare them; ` + noWeights,
		},
	})
}

// The documents' examples, and those of the manifests, are good ones.
func TestExamplesHaveNoWarnings(t *testing.T) {
	quiet := func(where string, warnings Problems) {
		t.Helper()
		for _, w := range warnings {
			// Some show pools alone.
			if w.Path != "peers" {
				t.Errorf("%s: %s", where, w)
			}
		}
	}
	for _, block := range strings.Split(documentation(t), "```yaml\n") {
		example, _, _ := strings.Cut(block, "```")
		if _, warnings, err := Examine([]byte(example)); err == nil {
			quiet("docs/configuration.md: "+example, warnings)
		}
	}
	files, err := filepath.Glob("../../manifests/examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, warnings, err := ExamineFile(data); err == nil {
			quiet(file, warnings)
		}
	}
}

// Two hundred racks, each with pools and routers of its own, take no time.
func TestWarningsOfALargeConfigurationAreFast(t *testing.T) {
	var pools, peers strings.Builder
	for i := range 200 {
		fmt.Fprintf(&pools, "- {name: p%d, ranges: [10.%d.0.0/24], nodeSelector: {matchLabels: {rack: r%d}}}\n", i, i, i)
		for j, weights := range []string{"linkBandwidth", "community"} {
			fmt.Fprintf(&peers, "- {name: r%d-%d, address: 172.16.%d.%d, asn: 64512, weights: %s, nodeSelector: {matchLabels: {rack: r%d}}}\n", i, j, i, j+1, []string{weights, "none"}[i%2], i)
		}
	}
	start := time.Now()
	_, warnings, err := Examine([]byte(head + "bgp: {asn: 64513}\npools:\n" + pools.String() + "peers:\n" + peers.String()))
	if err != nil || len(warnings) != 100 { // the two routers of each other rack
		t.Errorf("%v, %d warnings: %.300s", err, len(warnings), warnings.Error())
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}
