package config

import "testing"

func TestAdvertisementFaults(t *testing.T) {
	const (
		word   = "not a community; write one such as 64512:100, a large one such as 64512:1:2, or one of accept-own, blackhole, graceful-shutdown, local-as, no-advertise, no-export, no-peer"
		number = "write a whole number from 0 to 4294967295"
	)
	wantFaults(t, inAdvert, map[string][]string{
		"":                                       nil,
		"pools: [public], peers: [tor-a]":        nil,
		"nodeSelector: {matchLabels: {rack: a}}": nil,
		"serviceSelector: {matchLabels: {app: web}}":       nil,
		"namespaces: [team-a, '1']":                        nil,
		"aggregationLength: 24, aggregationLengthV6: 64":   nil,
		"aggregationLength: 32":                            nil,
		"communities: ['64512:100', no-export, 64512:1:2]": nil,
		"communities: ['0:65535', '65535:65281']":          nil,
		"localPref: 0, med: 4294967295, prepend: 10":       nil,
		"pools: []":                               {`advertisements[0].pools: empty; leave it out to announce every pool`},
		"pools: public":                           {`advertisements[0].pools: "public": a string; write a list`},
		"pools: [publik]":                         {`advertisements[0].pools[0]: "publik": unknown pool; did you mean public?`},
		"pools: [zzz]":                            {`advertisements[0].pools[0]: "zzz": unknown pool; write one of public`},
		"pools: [public, public]":                 {`advertisements[0].pools[1]: "public": advertisements[0].pools[0] has it already; it must be unique`},
		"peers: []":                               {`advertisements[0].peers: empty; leave it out to announce to every peer`},
		"peers: [tor-b]":                          {`advertisements[0].peers[0]: "tor-b": unknown peer; did you mean tor-a?`},
		"peers: [10.0.0.1]":                       {`advertisements[0].peers[0]: "10.0.0.1": write at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends`},
		"namespaces: []":                          {`advertisements[0].namespaces: empty; leave it out to announce the Services of every namespace`},
		"namespace: a":                            {`advertisements[0].namespace: unknown key; did you mean namespaces?`},
		"nodeSelector: [a]":                       {`advertisements[0].nodeSelector: a list; write a mapping with the keys matchExpressions, matchLabels`},
		"aggregationLength: 0":                    {`advertisements[0].aggregationLength: 0: write a whole number from 1 to 32`},
		"aggregationLength: 33":                   {`advertisements[0].aggregationLength: 33: write a whole number from 1 to 32`},
		"aggregationLength: /24":                  {`advertisements[0].aggregationLength: "/24": write a whole number from 1 to 32`},
		"aggregationLength: 23":                   {`advertisements[0].aggregationLength: 23: 192.0.2.0/23 has addresses that are not in pool public; write at least 24, or announce the pool by another advertisement`},
		"aggregationLengthV6: 129":                {`advertisements[0].aggregationLengthV6: 129: write a whole number from 1 to 128`},
		"localPref: -1":                           {`advertisements[0].localPref: -1: ` + number},
		"localPref: 4294967296":                   {`advertisements[0].localPref: 4294967296: ` + number},
		"localpref: 1":                            {`advertisements[0].localpref: unknown key; did you mean localPref?`},
		"med: high":                               {`advertisements[0].med: "high": ` + number},
		"prepend: 11":                             {`advertisements[0].prepend: 11: write a whole number from 0 to 10`},
		"prepend: [64512]":                        {`advertisements[0].prepend: a list; write a whole number from 0 to 10`},
		"communities: []":                         {`advertisements[0].communities: empty; leave it out`},
		"communities: no-export":                  {`advertisements[0].communities: "no-export": a string; write a list`},
		"communities: [64512]":                    {`advertisements[0].communities[0]: 64512: a number; write "64512", with the quotes`},
		"communities: [NO_EXPORT]":                {`advertisements[0].communities[0]: "NO_EXPORT": unknown community; did you mean no-export?`},
		"communities: [gshut]":                    {`advertisements[0].communities[0]: "gshut": ` + word},
		"communities: ['rt:64512:100']":           {`advertisements[0].communities[0]: "rt:64512:100": ` + word},
		"communities: ['64512:0x1']":              {`advertisements[0].communities[0]: "64512:0x1": ` + word},
		"communities: ['64512:010']":              {`advertisements[0].communities[0]: "64512:010": ` + word},
		"communities: ['1:2:3:4']":                {`advertisements[0].communities[0]: "1:2:3:4": ` + word},
		"communities: ['1:2:4294967296']":         {`advertisements[0].communities[0]: "1:2:4294967296": ` + word},
		"communities: ['64512:65536']":            {`advertisements[0].communities[0]: "64512:65536": a community has two numbers up to 65535 (RFC 1997); write a large one, of three, such as 64512:65536:0`},
		"communities: ['4200000000:1']":           {`advertisements[0].communities[0]: "4200000000:1": a community has two numbers up to 65535 (RFC 1997); write a large one, of three, such as 4200000000:1:0`},
		"communities: [no-export, '65535:65281']": {`advertisements[0].communities[1]: "65535:65281": advertisements[0].communities[0] has it already; it must be unique`},
		"communities: ['1:1:1', '1:1:1']":         {`advertisements[0].communities[1]: "1:1:1": advertisements[0].communities[0] has it already; it must be unique`},
	})
	wantFaults(t, pool+"advertisements: %s\n", map[string][]string{
		"[]":                 nil,
		"{}":                 {`advertisements: a mapping; write a list`},
		"[a]":                {`advertisements[0]: "a": a string; write a mapping with the keys aggregationLength, aggregationLengthV6, communities, localPref, med, namespaces, nodeSelector, peers, podCIDRs, pools, prepend, serviceSelector`},
		"[{peers: [tor-a]}]": {`advertisements[0].peers[0]: "tor-a": unknown peer; there is none`},
	})
}

// An aggregate must not draw the traffic of addresses that are not the pool's.
func TestAggregatesStayWithinThePool(t *testing.T) {
	wantFaults(t, head+`pools:
- {name: two-halves, ranges: [192.0.2.0/25, 192.0.2.128/25, "2001:db8::/112"]}
- {name: odd, ranges: [198.51.100.10-198.51.100.20]}
- {name: l2, ranges: [203.0.113.9/32], announce: [l2]}
advertisements:
- {%s}
`, map[string][]string{
		"pools: [two-halves], aggregationLength: 24":    nil,
		"pools: [two-halves], aggregationLength: 26":    nil,
		"pools: [two-halves], aggregationLengthV6: 112": nil,
		"aggregationLengthV6: 120":                      nil,
		"pools: [two-halves], aggregationLength: 20":    {`advertisements[0].aggregationLength: 20: 192.0.0.0/20 has addresses that are not in pool two-halves; write at least 24, or announce the pool by another advertisement`},
		"aggregationLengthV6: 64":                       {`advertisements[0].aggregationLengthV6: 64: 2001:db8::/64 has addresses that are not in pool two-halves; write at least 112, or announce the pool by another advertisement`},
		"pools: [odd], aggregationLength: 30":           {`advertisements[0].aggregationLength: 30: 198.51.100.8/30 has addresses that are not in pool odd; write at least 32, or announce the pool by another advertisement`},
		"aggregationLength: 24":                         {`advertisements[0].aggregationLength: 24: 198.51.100.0/24 has addresses that are not in pool odd; write at least 32, or announce the pool by another advertisement`},
		"pools: [l2]":                                   {`advertisements[0].pools[0]: "l2": is announced at layer 2 only; add bgp to its announce, or take it out`},
	})
}

func TestCommunitiesThatPeersTakeForWeights(t *testing.T) {
	wantFaults(t, peer+`- {name: bird, address: 10.0.0.2, asn: 64512, weights: community, community: "64512:100"}
advertisements:
- {%s}
`, map[string][]string{
		"communities: ['64512:100']":                 nil,
		"communities: ['64512:357']":                 nil,
		"communities: ['64511:103']":                 nil,
		"communities: ['64512:103'], peers: [tor-a]": nil,
		"communities: ['64512:103']":                 {`advertisements[0].communities[0]: "64512:103": tells peer bird a weight of 3; write another, or change the peer's community, 64512:100`},
		"communities: ['64512:356'], peers: [bird]":  {`advertisements[0].communities[0]: "64512:356": tells peer bird a weight of 256; write another, or change the peer's community, 64512:100`},
	})
}
