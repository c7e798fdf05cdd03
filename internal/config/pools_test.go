package config

import (
	"strings"
	"testing"
)

func TestRangeFaults(t *testing.T) {
	wantFaults(t, inRanges, map[string][]string{
		"192.0.2.0/24":                        nil,
		"192.0.2.7/32":                        nil,
		"192.0.2.7-192.0.2.7":                 nil,
		"192.0.2.7 - 192.0.2.9":               nil,
		"192.0.2.0/25, 192.0.2.128/25":        nil,
		"2001:db8::/32, 192.0.2.0/24":         nil,
		"2001:DB8::1-2001:db8::ff":            nil,
		"240.0.0.0/8":                         nil,
		"":                                    {`pools[0].ranges: required; write at least one, such as [192.0.2.0/24]`},
		"192.0.2.1/24":                        {`pools[0].ranges[0]: "192.0.2.1/24": has host bits; write 192.0.2.0/24`},
		"2001:db8::1/64":                      {`pools[0].ranges[0]: "2001:db8::1/64": has host bits; write 2001:db8::/64`},
		"192.0.2.7":                           {`pools[0].ranges[0]: "192.0.2.7": has no length; write 192.0.2.7/32`},
		`"2001:db8::7"`:                       {`pools[0].ranges[0]: "2001:db8::7": has no length; write 2001:db8::7/128`},
		"192.0.2.0/33":                        {`pools[0].ranges[0]: "192.0.2.0/33": not a prefix such as 192.0.2.0/24`},
		"192.0.2/24":                          {`pools[0].ranges[0]: "192.0.2/24": not a prefix such as 192.0.2.0/24`},
		"192.0.2.010/32":                      {`pools[0].ranges[0]: "192.0.2.010/32": not a prefix such as 192.0.2.0/24`},
		`""`:                                  {`pools[0].ranges[0]: "": not a prefix such as 192.0.2.0/24`},
		"example.com":                         {`pools[0].ranges[0]: "example.com": not a prefix such as 192.0.2.0/24`},
		"192.0.2.9-192.0.2.1":                 {`pools[0].ranges[0]: "192.0.2.9-192.0.2.1": reversed; write 192.0.2.1-192.0.2.9`},
		"192.0.2.1-9":                         {`pools[0].ranges[0]: "192.0.2.1-9": not a range such as 192.0.2.10-192.0.2.20`},
		"192.0.2.0/25-192.0.2.9":              {`pools[0].ranges[0]: "192.0.2.0/25-192.0.2.9": not a range such as 192.0.2.10-192.0.2.20`},
		"192.0.2.1-2001:db8::1":               {`pools[0].ranges[0]: "192.0.2.1-2001:db8::1": from IPv4 to IPv6; write two addresses of one family`},
		`"::ffff:192.0.2.0/120"`:              {`pools[0].ranges[0]: "::ffff:192.0.2.0/120": IPv4 written as IPv6; write 192.0.2.0/24`},
		`"::ffff:192.0.2.1-::ffff:192.0.2.9"`: {`pools[0].ranges[0]: "::ffff:192.0.2.1-::ffff:192.0.2.9": IPv4 written as IPv6; write 192.0.2.1-192.0.2.9`},
		"fe80::%eth0/64":                      {`pools[0].ranges[0]: "fe80::%eth0/64": has a zone; pools hold no link-local addresses`},
		"fe80::1%eth0-fe80::2%eth0":           {`pools[0].ranges[0]: "fe80::1%eth0-fe80::2%eth0": has a zone; pools hold no link-local addresses`},
		"0.0.0.0/0":                           {`pools[0].ranges[0]: "0.0.0.0/0": reaches into 0.0.0.0/8 (this network, RFC 1122); write a range outside of it`},
		"127.0.0.5/32":                        {`pools[0].ranges[0]: "127.0.0.5/32": reaches into 127.0.0.0/8 (loopback, RFC 1122); write a range outside of it`},
		"169.254.1.0/24":                      {`pools[0].ranges[0]: "169.254.1.0/24": reaches into 169.254.0.0/16 (link-local, RFC 3927); write a range outside of it`},
		"223.255.255.0-224.0.0.9":             {`pools[0].ranges[0]: "223.255.255.0-224.0.0.9": reaches into 224.0.0.0/4 (multicast, RFC 5771); write a range outside of it`},
		"255.255.255.255/32":                  {`pools[0].ranges[0]: "255.255.255.255/32": reaches into 255.255.255.255/32 (limited broadcast, RFC 919); write a range outside of it`},
		`"::/64"`:                             {`pools[0].ranges[0]: "::/64": reaches into ::/128 (unspecified, RFC 4291); write a range outside of it`},
		`"::1/128"`:                           {`pools[0].ranges[0]: "::1/128": reaches into ::1/128 (loopback, RFC 4291); write a range outside of it`},
		`"::fffe:ffff:ffff-::1:0:0:0"`:        {`pools[0].ranges[0]: "::fffe:ffff:ffff-::1:0:0:0": reaches into ::ffff:0.0.0.0/96 (IPv4-mapped, RFC 4291); write a range outside of it`},
		"fe80::/64":                           {`pools[0].ranges[0]: "fe80::/64": reaches into fe80::/10 (link-local, RFC 4291); write a range outside of it`},
		"ff02::/64":                           {`pools[0].ranges[0]: "ff02::/64": reaches into ff00::/8 (multicast, RFC 4291); write a range outside of it`},
		"10":                                  {`pools[0].ranges[0]: 10: a number; write "10", with the quotes`},
		"[192.0.2.0/24]":                      {`pools[0].ranges[0]: a list; write a string`},
		"~":                                   {`pools[0].ranges[0]: no value; write a string`},
		"{from: 192.0.2.1, to: 192.0.2.9}":    {`pools[0].ranges[0]: a mapping; write a string`},
		"192.0.2.0/24, 192.0.2.0/24":          {`pools[0].ranges[1]: "192.0.2.0/24": overlaps pools[0].ranges[0], "192.0.2.0/24"`},
		"192.0.2.9/32, 192.0.2.0/24":          {`pools[0].ranges[1]: "192.0.2.0/24": overlaps pools[0].ranges[0], "192.0.2.9/32"`},
		"192.0.2.0/24, 192.0.2.255-192.0.3.0": {`pools[0].ranges[1]: "192.0.2.255-192.0.3.0": overlaps pools[0].ranges[0], "192.0.2.0/24"`},
		"192.0.2.0/24, 192.0.2.1/32, 192.0.2.3/32, x": {
			`pools[0].ranges[1]: "192.0.2.1/32": overlaps pools[0].ranges[0], "192.0.2.0/24"`,
			`pools[0].ranges[2]: "192.0.2.3/32": overlaps pools[0].ranges[0], "192.0.2.0/24"`,
			`pools[0].ranges[3]: "x": not a prefix such as 192.0.2.0/24`,
		},
	})
}

func TestPoolFaults(t *testing.T) {
	long := strings.Repeat("a", 64)
	const label = "write at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends"
	wantFaults(t, inPool, map[string][]string{
		"autoAssign: false":         nil,
		"avoidBuggyIPs: true":       nil,
		"ipFamily: IPv4":            nil,
		"weights: off":              nil,
		"weights: false":            nil,
		"weights:":                  nil,
		"flowRescue: auto":          nil,
		"flowRescue: off":           nil,
		"flowRescue: false":         nil,
		"flowRescue: true":          nil,
		"priority: -5":              nil,
		"quarantine: 0s":            nil,
		"quarantine: 720h":          nil,
		"sharing: acrossNamespaces": nil,
		"sharing: withinNamespace":  nil,
		"namespaces: [a, b]":        nil,
		"serviceSelector: {}":       nil,

		"namespaceSelector: {matchLabels: {team: a}}": nil,
		"namespaceSelector: {}":                       {`pools[0].namespaceSelector: empty; leave it out to serve every namespace`},

		"rangess: []":           {`pools[0].rangess: unknown key; did you mean ranges?`},
		"auto-assign: true":     {`pools[0].auto-assign: unknown key; did you mean autoAssign?`},
		"protocol: bgp":         {`pools[0].protocol: unknown key; known here are announce, autoAssign, avoidBuggyIPs, excludeInterfaces, flowRescue, interfaces, ipFamily, name, namespaceSelector, namespaces, nodeSelector, priority, quarantine, ranges, reserved, retired, serviceSelector, sharing, weights`},
		"name: b":               {`pools[0].name: duplicate key; it is on line 3 already`},
		"ipFamily: IPv6":        {`pools[0].ranges[0]: "192.0.2.0/24": is IPv4, but the pool's ipFamily is IPv6; move it to another pool or leave ipFamily out`},
		"ipFamily: ipv4":        {`pools[0].ipFamily: "ipv4": write IPv4 or IPv6`},
		"ipFamily: 4":           {`pools[0].ipFamily: 4: a number; write "4", with the quotes`},
		"autoAssign: yes":       {`pools[0].autoAssign: "yes": write true or false, without quotes`},
		"autoAssign: 1":         {`pools[0].autoAssign: 1: a number; write true or false`},
		"autoAssign: []":        {`pools[0].autoAssign: a list; write true or false`},
		`avoidBuggyIPs: "true"`: {`pools[0].avoidBuggyIPs: "true": write true or false, without quotes`},
		"sharing: namespace":    {`pools[0].sharing: "namespace": write withinNamespace or acrossNamespaces`},
		"reserved: [192.0.2.7/32, 192.0.2.10-192.0.2.19]": nil,
		"reserved: [192.0.2.0/24]":                        nil,
		"reserved: []":                                    {"pools[0].reserved: required; write at least one, such as [192.0.2.0/24]"},
		"reserved: [192.0.2.7]":                           {`pools[0].reserved[0]: "192.0.2.7": has no length; write 192.0.2.7/32`},
		"reserved: [192.0.3.0/31]":                        {`pools[0].reserved[0]: "192.0.3.0/31": is within no range of the pool; write addresses of one of its ranges`},
		"reserved: [192.0.2.0-192.0.3.5]":                 {`pools[0].reserved[0]: "192.0.2.0-192.0.3.5": is within no range of the pool; write addresses of one of its ranges`},
		"reserved: [192.0.2.0/28, 192.0.2.8/31]":          {`pools[0].reserved[1]: "192.0.2.8/31": overlaps pools[0].reserved[0], "192.0.2.0/28"`},
		"quarantine: 300":                                 {"pools[0].quarantine: 300: has no unit; write 300s"},
		"quarantine: -1s":                                 {`pools[0].quarantine: "-1s": write a duration from 0s to 720h`},
		"quarantine: 30d":                                 {`pools[0].quarantine: "30d": not a duration; write one such as 90s or 5m`},
		"quarantine: 1500ms":                              {`pools[0].quarantine: "1500ms": write whole seconds, such as 2s`},
		"priority: high":                                  {`pools[0].priority: "high": write a whole number from -1000 to 1000`},
		"priority: 1.5":                                   {`pools[0].priority: 1.5: write a whole number from -1000 to 1000`},
		"priority: 0x10":                                  {`pools[0].priority: 0x10: write a whole number from -1000 to 1000`},
		"priority: 010":                                   {`pools[0].priority: 010: write a whole number from -1000 to 1000`},
		"priority: 1001":                                  {`pools[0].priority: 1001: write a whole number from -1000 to 1000`},
		`priority: "5"`:                                   {`pools[0].priority: "5": a string; write 5, without quotes`},
		"priority: {}":                                    {`pools[0].priority: a mapping; write a whole number from -1000 to 1000`},
		"priority: 2001-01-01":                            {`pools[0].priority: 2001-01-01: write a whole number from -1000 to 1000`},
		"weights: on":                                     {`pools[0].weights: "on": write auto or off`},
		"flowRescue: on":                                  {`pools[0].flowRescue: "on": write auto or off`},
		"flowRescue: 1":                                   {`pools[0].flowRescue: 1: a number; write "1", with the quotes`},
		"flowRescue: [auto]":                              {`pools[0].flowRescue: a list; write a string`},
		"flowrescue: off":                                 {`pools[0].flowrescue: unknown key; did you mean flowRescue?`},
		"weights: 3":                                      {`pools[0].weights: 3: a number; write "3", with the quotes`},
		"namespaces: []":                                  {`pools[0].namespaces: empty; leave it out to serve every namespace`},
		"namespaces: team-a":                              {`pools[0].namespaces: "team-a": a string; write a list`},
		"namespaces: [Team_A]":                            {`pools[0].namespaces[0]: "Team_A": ` + label},
		"namespaces: [a, b, a]":                           {`pools[0].namespaces[2]: "a": pools[0].namespaces[0] has it already; it must be unique`},
		"namespaces: [12]":                                {`pools[0].namespaces[0]: 12: a number; write "12", with the quotes`},
		"serviceSelector: all":                            {`pools[0].serviceSelector: "all": a string; write a mapping with the keys matchExpressions, matchLabels`},
		"serviceSelector: {a: b}":                         {`pools[0].serviceSelector.a: unknown key; known here are matchExpressions, matchLabels`},
		"serviceSelector: {matchLabels: [a]}": {
			`pools[0].serviceSelector.matchLabels: a list; write a mapping of labels`,
		},
		"serviceSelector: {matchLabels: {app: 1, tier: true, ok: x}}": {
			`pools[0].serviceSelector.matchLabels.app: 1: a number; write "1", with the quotes`,
			`pools[0].serviceSelector.matchLabels.tier: true: a boolean; write "true", with the quotes`,
		},
		"serviceSelector: {matchLabels: {-a: b c, example.com/x: '', A.b_c/x: y, a/b/c: d}}": {
			`pools[0].serviceSelector.matchLabels.-a: "-a": not the key of a label, such as app or example.com/tier`,
			`pools[0].serviceSelector.matchLabels.-a: "b c": not the value of a label: at most 63 letters, digits, dashes, dots and underscores`,
			`pools[0].serviceSelector.matchLabels.A.b_c/x: "A.b_c/x": not the key of a label, such as app or example.com/tier`,
			`pools[0].serviceSelector.matchLabels.a/b/c: "a/b/c": not the key of a label, such as app or example.com/tier`,
		},
		"serviceSelector: {matchLabels: {/a: '', a/: '', -.x/a: '', x.y/" + long + ": '', a: " + long + "}}": {
			`pools[0].serviceSelector.matchLabels./a: "/a": not the key of a label, such as app or example.com/tier`,
			`pools[0].serviceSelector.matchLabels.a/: "a/": not the key of a label, such as app or example.com/tier`,
			`pools[0].serviceSelector.matchLabels.-.x/a: "-.x/a": not the key of a label, such as app or example.com/tier`,
			`pools[0].serviceSelector.matchLabels.x.y/` + long + `: "x.y/` + long + `": not the key of a label, such as app or example.com/tier`,
			`pools[0].serviceSelector.matchLabels.a: "` + long + `": not the value of a label: at most 63 letters, digits, dashes, dots and underscores`,
		},
		"serviceSelector: {matchExpressions: [{}]}": {
			`pools[0].serviceSelector.matchExpressions[0].key: required`,
			`pools[0].serviceSelector.matchExpressions[0].operator: required; write In, NotIn, Exists or DoesNotExist`,
		},
		"serviceSelector: {matchExpressions: [{key: a, operator: Equals}]}": {
			`pools[0].serviceSelector.matchExpressions[0].operator: "Equals": write In or NotIn or Exists or DoesNotExist`,
		},
		"serviceSelector: {matchExpressions: [{key: a, operator: In}, {key: a, operator: NotIn, values: []}]}": {
			`pools[0].serviceSelector.matchExpressions[0].values: required with In; write at least one value`,
			`pools[0].serviceSelector.matchExpressions[1].values: required with NotIn; write at least one value`,
		},
		"serviceSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}, {key: b, operator: DoesNotExist, values: []}]}": {
			`pools[0].serviceSelector.matchExpressions[0].values: has no meaning with Exists; leave it out`,
		},
		"serviceSelector: {matchExpressions: [{key: /a, operator: In, values: [-]}]}": {
			`pools[0].serviceSelector.matchExpressions[0].key: "/a": not the key of a label, such as app or example.com/tier`,
			`pools[0].serviceSelector.matchExpressions[0].values[0]: "-": not the value of a label: at most 63 letters, digits, dashes, dots and underscores`,
		},
	})
}

func TestSeveralPools(t *testing.T) {
	wantFaults(t, pool+"- %s\n", map[string][]string{
		"{name: two, ranges: [198.51.100.0/24]}": nil,
		"{name: two}":                            {`pools[1].ranges: required; write at least one, such as [192.0.2.0/24]`},
		"{ranges: [198.51.100.0/24]}":            {`pools[1].name: required`},
		"{name: '', ranges: [198.51.100.0/24]}":  {`pools[1].name: "": write at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends`},
		"{name: public, ranges: [198.51.100.0/24]}": {
			`pools[1].name: "public": pools[0].name has it already; it must be unique`,
		},
		"{name: two, ranges: [192.0.2.128-192.0.3.5]}": {
			`pools[1].ranges[0]: "192.0.2.128-192.0.3.5": overlaps pools[0].ranges[0], "192.0.2.0/24", of pool public`,
		},
		"{name: two, ranges: [192.0.2.0/25, 192.0.2.128/25]}": {
			`pools[1].ranges[0]: "192.0.2.0/25": overlaps pools[0].ranges[0], "192.0.2.0/24", of pool public`,
			`pools[1].ranges[1]: "192.0.2.128/25": overlaps pools[0].ranges[0], "192.0.2.0/24", of pool public`,
		},
	})
}

func TestAPoolThatCanHandOutNothing(t *testing.T) {
	const why = "nothing in the pool can be handed out: avoidBuggyIPs leaves out .0 and .255, and at layer 2 an IPv6 subnet's first address belongs to its routers; write a larger range"
	for text, want := range map[string]string{
		"ranges: [198.51.100.0/32], avoidBuggyIPs: true":                   `pools[0].ranges[0]: "198.51.100.0/32": ` + why,
		"ranges: [198.51.100.255-198.51.101.0], avoidBuggyIPs: true":       `pools[0].ranges[0]: "198.51.100.255-198.51.101.0": ` + why,
		`ranges: ["2001:db8::/128"], announce: [l2]`:                       `pools[0].ranges[0]: "2001:db8::/128": ` + why,
		`ranges: [198.51.100.0/32, "2001:db8::/128"], avoidBuggyIPs: true`: "",
		`ranges: [198.51.100.1/32, "2001:db8::/64"], announce: [l2]`:       "",
		"ranges: [198.51.100.0/31], avoidBuggyIPs: true":                   "",
		"retired: [198.51.100.0/32], avoidBuggyIPs: true":                  "",
		"retired: [198.51.100.0/32], ranges: [198.51.100.0/31]":            `pools[0].ranges[0]: "198.51.100.0/31": overlaps pools[0].retired[0], "198.51.100.0/32"`,
		"avoidBuggyIPs: true": "pools[0].ranges: required; write at least one, such as [192.0.2.0/24]",
		"retired: []":         "pools[0].retired: required; write at least one, such as [192.0.2.0/24]",
		`ranges: ["2001:db8::5/128"], retired: ["2001:db8::/126"], autoAssign: no`: `pools[0].autoAssign: "no": write true or false, without quotes`,
	} {
		_, err := Parse([]byte(head + "pools: [{name: p, " + text + "}]\n"))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
