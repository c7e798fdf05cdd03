package config

import (
	"testing"
	"time"
)

func TestOverrideFaults(t *testing.T) {
	wantFaults(t, inOverride, map[string][]string{
		"address: 10.0.0.2":                            nil,
		"holdTime: 9s":                                 nil,
		"addressFrom: {defaultGateway: IPv4}":          nil,
		"asnFrom: {nodeLabel: as}":                     nil,
		"weights: community\n    community: 64512:100": nil,
		"":                     {`peers[0].overrides[0]: changes nothing; add what differs on these nodes`},
		"holdtime: 9s":         {`peers[0].overrides[0]: changes nothing; add what differs on these nodes`, `peers[0].overrides[0].holdtime: unknown key; did you mean holdTime?`},
		"port: 0":              {`peers[0].overrides[0].port: 0: write a whole number from 1 to 65535`},
		"community: 64512:100": nil,
		"weights: community":   nil,
		"weights: none\n    community: 64512:100":            {`peers[0].overrides[0].community: only with weights: community; write that as well, or leave it out`},
		"weights: addPath":                                   {`peers[0].overrides[0].addPath: required with weights: addPath; write the prefixes of the nodes' aliases, such as {prefixes: [10.0.1.0/24]}`},
		"address: 10.0.0.2\n    addressFrom: {nodeLabel: a}": {`peers[0].overrides[0].addressFrom: not together with peers[0].overrides[0].address; leave one of them out`},
		"address: 'fe80::1'":                                 {`peers[0].overrides[0].address: "fe80::1": is link-local; write the interface of the nodes as well, such as interface: eth0`},
		"address: 192.0.2.1":                                 {`peers[0].overrides[0].address: "192.0.2.1": is in pools[0].ranges[0], "192.0.2.0/24", and could be handed out; take it out of the pool`},
		"bfdProfile: fast":                                   {`peers[0].overrides[0].bfdProfile: "fast": unknown BFD profile; write one of default`},
		"passive: true\n    port: 1179":                      {`peers[0].overrides[0].port: a passive peer is not dialled; leave port out: it connects to bgp.listenPort`},
		"port: 1\n  - nodeSelector: {matchLabels: {rack: a}}\n    port: 2": {
			`peers[0].overrides[1].nodeSelector: peers[0].overrides[0].nodeSelector is the same, and the first one counts; leave one of them out`,
		},
	})
	wantFaults(t, peer+"  overrides: %s\n", map[string][]string{
		"[]":                               nil,
		"{}":                               {`peers[0].overrides: a mapping; write a list`},
		"[{}]":                             {`peers[0].overrides[0].nodeSelector: required`},
		"[{port: 1179}]":                   {`peers[0].overrides[0].nodeSelector: required`},
		"[{nodeSelector: {}, port: 1179}]": {`peers[0].overrides[0].nodeSelector: selects every node; change the setting itself instead, or write matchLabels or matchExpressions`},
		"[{nodeSelector: {matchLabels: {a: '!'}}, port: 1179}]": {`peers[0].overrides[0].nodeSelector.matchLabels.a: "!": not the value of a label: at most 63 letters, digits, dashes, dots and underscores`},
		"[{name: b, nodeSelector: {matchLabels: {a: b}}, port: 1}]": {
			`peers[0].overrides[0].name: unknown key; known here are addPath, address, addressFrom, addressRange, asn, asnFrom, bfdProfile, community, connectRetryTime, ebgpMultihop, holdTime, interface, keepaliveTime, linkBandwidth, localASN, nodeSelector, passive, passwordKey, port, restartTime, sourceAddress, sourceAddressFrom, ttlSecurity, weights`,
		},
		"[{overrides: [], nodeSelector: {matchLabels: {a: b}}, port: 1}]": {
			`peers[0].overrides[0].overrides: unknown key; known here are addPath, address, addressFrom, addressRange, asn, asnFrom, bfdProfile, community, connectRetryTime, ebgpMultihop, holdTime, interface, keepaliveTime, linkBandwidth, localASN, nodeSelector, passive, passwordKey, port, restartTime, sourceAddress, sourceAddressFrom, ttlSecurity, weights`,
		},
		"[{holdTime: 3s, nodeSelector: {matchLabels: {a: b}}}]\n  keepaliveTime: 5s": {
			`peers[0].overrides[0].holdTime: "3s": not more than the peer's keepaliveTime, 5s; write keepaliveTime: 1s here as well`,
		},
		"[{sourceAddress: '2001:db8::5', nodeSelector: {matchLabels: {a: b}}}]": {
			`peers[0].overrides[0].sourceAddress: "2001:db8::5": the source is IPv6 and the peer IPv4; write two addresses of one family`,
		},
		"[{addressRange: 'fd00::/64', nodeSelector: {matchLabels: {a: b}}}]\n  sourceAddress: 10.0.0.5": {
			`peers[0].overrides[0].addressRange: "fd00::/64": the source is IPv4 and the peer IPv6; write two addresses of one family`,
		},
	})
}

// The fault of a peer is not told once more for each of its overrides.
func TestFaultsOfAPeerAreToldOnce(t *testing.T) {
	wantFaults(t, pool+"bgp: {asn: 1}\npeers:\n- name: a\n  %s\n  overrides: [{port: 1, nodeSelector: {matchLabels: {a: b}}}]\n", map[string][]string{
		"weights: addPath": {
			`peers[0].address: required; or write addressFrom, addressRange, or interface alone`,
			`peers[0].asn: required; write the peer's AS number, or external, or asnFrom`,
			`peers[0].addPath: required with weights: addPath; write the prefixes of the nodes' aliases, such as {prefixes: [10.0.1.0/24]}`,
		},
		"address: 192.0.2.1\n  asn: 2\n  bfdProfile: fast\n  ttlSecurity: 1\n  ebgpMultihop: 2\n  addPath: {prefixes: [10.1.0.0/24]}\n  holdTime: 3s\n  keepaliveTime: 4s": {
			`peers[0].address: "192.0.2.1": is in pools[0].ranges[0], "192.0.2.0/24", and could be handed out; take it out of the pool`,
			`peers[0].bfdProfile: "fast": unknown BFD profile; write one of default`,
			`peers[0].ebgpMultihop: not together with peers[0].ttlSecurity; leave one of them out`,
			`peers[0].addPath: only with weights: addPath; write that as well, or leave it out`,
			`peers[0].keepaliveTime: "4s": not less than the holdTime, 3s; write 1s`,
		},
	})
}

func TestAnOverrideIsThePeerWithChanges(t *testing.T) {
	c := mustParse(t, pool+`bgp: {asn: 64513}
peers:
- overrides:
  - {nodeSelector: {matchLabels: {rack: a}}, address: 10.0.0.2}
  - {nodeSelector: {matchLabels: {rack: b}}, holdTime: 9s, ttlSecurity: 1, asnFrom: {nodeLabel: as}, weights: none}
  name: tor
  addressRange: 10.1.0.0/24
  asn: 64512
  ebgpMultihop: 3
  weights: community
  community: 64512:100
`)
	p := c.Peers[0]
	if !p.Passive || p.NodeSelector.MatchLabels != nil {
		t.Errorf("the peer: %+v", p)
	}
	moved, changed := p.Overrides[0], p.Overrides[1]
	if moved.Name != "tor" || moved.AddressRange.IsValid() || moved.Passive || moved.ASN != 64512 || moved.Community != p.Community || moved.EBGPMultihop != 3 {
		t.Errorf("the first: %+v", moved)
	}
	if changed.KeepaliveTime != 3*time.Second || changed.EBGPMultihop != 0 || changed.TTLSecurity != 1 || changed.ASN != 0 ||
		changed.Community != (CommunityWeights{}) || !changed.Passive || changed.AddressRange != p.AddressRange {
		t.Errorf("the second: %+v", changed)
	}
	wantRoundTrip(t, c)
}

func TestTwoPeersWithOneNeighbour(t *testing.T) {
	const (
		inRackA = "nodeSelector: {matchLabels: {rack: a}}"
		inRackB = "nodeSelector: {matchLabels: {rack: b}}"
		again   = ` has it already, on the same nodes; give the peers nodeSelectors that no node has both of`
	)
	wantFaults(t, pool+"bgp: {asn: 64513}\npeers:\n- {name: a, asn: 1, address: 10.0.0.1, "+inRackA+"}\n- {name: b, asn: 2, %s}\n", map[string][]string{
		"address: 10.0.0.1, " + inRackB: nil,
		"address: 10.0.0.1, nodeSelector: {matchExpressions: [{key: rack, operator: Exists}]}": nil, // who knows

		"address: 10.0.0.1, " + inRackA:       {`peers[1].address: "10.0.0.1": peers[0].address` + again},
		"address: 10.0.0.1":                   {`peers[1].address: "10.0.0.1": peers[0].address` + again},
		"address: 10.0.0.1, nodeSelector: {}": {`peers[1].address: "10.0.0.1": peers[0].address` + again},

		"address: 10.0.0.9, overrides: [{" + inRackA + ", address: 10.0.0.1}]":        {`peers[1].overrides[0].address: "10.0.0.1": peers[0].address` + again},
		"address: 10.0.0.9, overrides: [{" + inRackB + ", address: 10.0.0.1}]":        nil,
		"address: 10.0.0.1, overrides: [{" + inRackA + ", address: 10.0.0.9}]":        nil,
		"address: 10.0.0.1, overrides: [{" + inRackB + ", address: 10.0.0.9}]":        {`peers[1].address: "10.0.0.1": peers[0].address` + again},
		"address: 10.0.0.1, " + inRackB + ", overrides: [{" + inRackA + ", port: 1}]": nil,
		"address: 10.0.0.9, overrides: [{" + inRackB + ", address: 10.0.0.8}, {" + inRackA + ", address: 10.0.0.1}]": {
			`peers[1].overrides[1].address: "10.0.0.1": peers[0].address` + again,
		},
	})
	wantFaults(t, pool+"bgp: {asn: 64513}\npeers:\n- {name: a, asn: 1, %s}\n", map[string][]string{
		"interface: eth0}\n- {name: b, asn: 2, interface: eth1":                                         nil,
		"interface: eth0, address: 'fe80::1'}\n- {name: b, asn: 2, interface: eth1, address: 'fe80::1'": nil,
		"interface: eth0}\n- {name: b, asn: 2, interface: eth0":                                         {`peers[1].interface: "eth0": peers[0].interface` + again},
		"interface: eth0, address: 'fe80::1'}\n- {name: b, asn: 2, interface: eth0, address: 'fe80::1'": {`peers[1].address: "fe80::1": peers[0].address` + again},
		"interface: eth0, address: 10.0.0.1}\n- {name: b, asn: 2, interface: eth1, address: 10.0.0.1":   {`peers[1].address: "10.0.0.1": peers[0].address` + again},
		"addressRange: 10.0.0.0/24}\n- {name: b, asn: 2, addressRange: 10.0.0.0/24":                     {`peers[1].addressRange: "10.0.0.0/24": peers[0].addressRange` + again},
		"addressRange: 10.0.0.0/24}\n- {name: b, asn: 2, address: 10.0.0.1":                             nil,
		"addressFrom: {defaultGateway: IPv4}}\n- {name: b, asn: 2, addressFrom: {defaultGateway: IPv6}": nil,
		"addressFrom: {defaultGateway: IPv4}}\n- {name: b, asn: 2, addressFrom: {defaultGateway: IPv4}": {`peers[1].addressFrom: peers[0].addressFrom` + again},
	})
}
