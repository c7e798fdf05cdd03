package config

import (
	"fmt"
	"testing"
)

func TestWhoFaults(t *testing.T) {
	const (
		from   = "write one of defaultGateway, nodeAnnotation or nodeLabel"
		label  = "not the key of a label, such as app or example.com/tier"
		ifname = "write the name of one interface, such as eth0, of at most 15 characters"
		zone   = "is link-local; write the interface of the nodes as well, such as interface: eth0"
	)
	wantFaults(t, inWho, map[string][]string{
		"addressFrom: {defaultGateway: IPv6}":                  nil,
		"addressFrom: {nodeAnnotation: example.com/tor}":       nil,
		"addressFrom: {nodeLabel: tor}":                        nil,
		"addressRange: 10.0.0.0/24":                            nil,
		"addressRange: 'fd00:1::/64', passive: true":           nil,
		"interface: eth0":                                      nil,
		"interface: eth0, address: 10.0.0.1":                   nil,
		"interface: bond0.100, address: 'fe80::1'":             nil,
		"interface: eth0, address: 169.254.0.1":                nil,
		"interface: eth0, addressFrom: {defaultGateway: IPv6}": nil,
		"port: 179": {`peers[0].address: required; or write addressFrom, addressRange, or interface alone`},
		"address: ": {`peers[0].address: required; or write addressFrom, addressRange, or interface alone`},
		"address: 10.0.0.1, addressFrom: {nodeLabel: tor}": {`peers[0].addressFrom: not together with peers[0].address; leave one of them out`},
		"addressRange: 10.0.0.0/24, address: 10.0.0.1":     {`peers[0].address: not together with peers[0].addressRange; leave one of them out`},
		"addressRange: 10.0.0.0/24, addressFrom: {defaultGateway: IPv4}, address: 10.0.0.1": {
			`peers[0].addressFrom: not together with peers[0].addressRange; leave one of them out`,
			`peers[0].address: not together with peers[0].addressRange; leave one of them out`,
		},
		"address: 'fe80::1'":                                {`peers[0].address: "fe80::1": ` + zone},
		"address: 169.254.0.1":                              nil,
		"interface: eth0, address: 'fe80::1%eth0'":          {`peers[0].address: "fe80::1%eth0": has a zone; write fe80::1, and interface: eth0`},
		"interface: 'eth*'":                                 {`peers[0].interface: "eth*": ` + ifname},
		"interface: [eth0]":                                 {`peers[0].interface: a list; write a string`},
		"interface: ''":                                     {`peers[0].interface: "": ` + ifname},
		"interface: averylongname0123":                      {`peers[0].interface: "averylongname0123": ` + ifname},
		"addressFrom: gateway":                              {`peers[0].addressFrom: "gateway": a string; write a mapping with the keys defaultGateway, nodeAnnotation, nodeLabel`},
		"addressFrom: {}":                                   {`peers[0].addressFrom: ` + from},
		"addressFrom: {defaultGateway: IPv4, nodeLabel: a}": {`peers[0].addressFrom: ` + from},
		"addressFrom: {defaultGateway: true}":               {`peers[0].addressFrom.defaultGateway: true: a boolean; write "true", with the quotes`},
		"addressFrom: {defaultGateway: ipv4}":               {`peers[0].addressFrom.defaultGateway: "ipv4": write IPv4 or IPv6`},
		"addressFrom: {nodeLabel: a b}":                     {`peers[0].addressFrom.nodeLabel: "a b": ` + label},
		"addressFrom: {annotation: a}":                      {`peers[0].addressFrom.annotation: unknown key; did you mean nodeAnnotation?`},
		"addressRange: 10.0.0.1":                            {`peers[0].addressRange: "10.0.0.1": has no length; write 10.0.0.1/32`},
		"addressRange: 10.0.0.1/24":                         {`peers[0].addressRange: "10.0.0.1/24": has host bits; write 10.0.0.0/24`},
		"addressRange: 10.0.0.1-10.0.0.9":                   {`peers[0].addressRange: "10.0.0.1-10.0.0.9": not a prefix such as 192.0.2.0/24`},
		"addressRange: 0.0.0.0/0":                           {`peers[0].addressRange: "0.0.0.0/0": reaches into 0.0.0.0/8 (this network, RFC 1122); write a prefix outside of it`},
		"addressRange: 'fe80::/64'":                         {`peers[0].addressRange: "fe80::/64": reaches into fe80::/10 (link-local, RFC 4291); write a prefix outside of it`},
		"addressRange: 64.0.0.0/3":                          {`peers[0].addressRange: "64.0.0.0/3": write a length from /8 to /32`},
		"addressRange: '2000::/4'":                          {`peers[0].addressRange: "2000::/4": write a length from /8 to /128`},
		"addressRange: 192.0.0.0/16":                        {`peers[0].addressRange: "192.0.0.0/16": overlaps pools[0].ranges[0], "192.0.2.0/24", which Services get; write another prefix, or take it out of the pool`},
		"addressRange: 10.0.0.0/24, passive: false":         {`peers[0].passive: whoever connects from an addressRange is waited for; leave passive out`},
		"addressRange: 10.0.0.0/24, port: 1179":             {`peers[0].port: a passive peer is not dialled; leave port out: it connects to bgp.listenPort`},
		"address: 10.0.0.1, port: 179, passive: true":       {`peers[0].port: a passive peer is not dialled; leave port out: it connects to bgp.listenPort`},
		"address: 10.0.0.1, passive: yes":                   {`peers[0].passive: "yes": write true or false, without quotes`},
	})
}

func TestPeerASFaults(t *testing.T) {
	wantFaults(t, inAS, map[string][]string{
		"asn: external":                        nil,
		"asn: 64513":                           nil,
		"asnFrom: {nodeLabel: example.com/as}": nil,
		"asn: external, localASN: 64999":       nil,
		"port: 179":                            {`peers[0].asn: required; write the peer's AS number, or external, or asnFrom`},
		"asn: External":                        {`peers[0].asn: "External": write external`},
		"asn: ebgp":                            {`peers[0].asn: "ebgp": write external`},
		"asn: internal":                        {`peers[0].asn: "internal": write the AS number of the nodes, that of bgp.asn`},
		"asn: any":                             {`peers[0].asn: "any": write a whole number from 1 to 4294967294`},
		"asn: [64512]":                         {`peers[0].asn: a list; write a whole number from 1 to 4294967294`},
		"asn: as64512":                         {`peers[0].asn: "as64512": write 64512`},
		"asn: 23456":                           {`peers[0].asn: 23456: is reserved by RFC 6793; write a number that is yours, or a private one such as 64512`},
		"asn: 1, asnFrom: {nodeLabel: as}":     {`peers[0].asnFrom: not together with peers[0].asn; leave one of them out`},
		"asn: external, asnFrom: {nodeLabel: as}":    {`peers[0].asnFrom: not together with peers[0].asn; leave one of them out`},
		"asnFrom: {defaultGateway: IPv4}":            {`peers[0].asnFrom.defaultGateway: unknown key; known here are nodeAnnotation, nodeLabel`},
		"asnFrom: {nodeLabel: a, nodeAnnotation: b}": {`peers[0].asnFrom: write one of nodeAnnotation or nodeLabel`},
		"asn: 1, localASN: external":                 {`peers[0].localASN: "external": write a whole number from 1 to 4294967294`},
		"asn: 1, localASN: 0":                        {`peers[0].localASN: 0: is reserved by RFC 7607; write a number that is yours, or a private one such as 64512`},
	})
}

func TestSessionFaults(t *testing.T) {
	const key = "write a key of the Secret herald-bgp: letters, digits, dashes, dots and underscores"
	wantFaults(t, inPeer, map[string][]string{
		"sourceAddress: 10.0.0.5":                       nil,
		"sourceAddressFrom: {nodeLabel: source}":        nil,
		"ebgpMultihop: 255":                             nil,
		"ttlSecurity: 254":                              nil,
		"passwordKey: tor-a.md5":                        nil,
		"restartTime: 0s":                               nil,
		"restartTime: 4095s":                            nil,
		"bfdProfile: default":                           nil,
		"bfdProfile: fast\nbfdProfiles: [{name: fast}]": nil,
		"sourceAddress: '2001:db8::5'":                  {`peers[0].sourceAddress: "2001:db8::5": the source is IPv6 and the peer IPv4; write two addresses of one family`},
		"sourceAddress: 10.0.0.1":                       {`peers[0].sourceAddress: "10.0.0.1": is the address of the peer; write one of the node's own`},
		"sourceAddress: eth0":                           {`peers[0].sourceAddress: "eth0": not an IP address such as 10.0.0.1 or 2001:db8::1`},
		"sourceAddress: 127.0.0.1":                      {`peers[0].sourceAddress: "127.0.0.1": in 127.0.0.0/8 (loopback, RFC 1122); write an address of the node`},
		"sourceAddress: 192.0.2.7":                      {`peers[0].sourceAddress: "192.0.2.7": is in pools[0].ranges[0], "192.0.2.0/24", and could be handed out; take it out of the pool`},

		"sourceAddress: 10.0.0.5\n  sourceAddressFrom: {nodeLabel: a}": {`peers[0].sourceAddressFrom: not together with peers[0].sourceAddress; leave one of them out`},
		"sourceAddressFrom: {defaultGateway: IPv4}":                    {`peers[0].sourceAddressFrom.defaultGateway: unknown key; known here are nodeAnnotation, nodeLabel`},

		"ebgpMultihop: 0":                               {`peers[0].ebgpMultihop: 0: write a whole number from 1 to 255`},
		"ebgpMultihop: 256":                             {`peers[0].ebgpMultihop: 256: write a whole number from 1 to 255`},
		"ebgpMultihop: true":                            {`peers[0].ebgpMultihop: true: write a whole number from 1 to 255`},
		"ttlSecurity: 255":                              {`peers[0].ttlSecurity: 255: write a whole number from 1 to 254`},
		"ttlSecurity: 0":                                {`peers[0].ttlSecurity: 0: write a whole number from 1 to 254`},
		"ttlSecurity: 1\n  ebgpMultihop: 3":             {`peers[0].ebgpMultihop: not together with peers[0].ttlSecurity; leave one of them out`},
		"ebgpMultihop: 3\n  ttlSecurity: 1":             {`peers[0].ttlSecurity: not together with peers[0].ebgpMultihop; leave one of them out`},
		"passwordKey: ../token":                         {`peers[0].passwordKey: "../token": ` + key},
		"passwordKey: ''":                               {`peers[0].passwordKey: "": ` + key},
		"passwordKey: ..data":                           {`peers[0].passwordKey: "..data": ` + key},
		"passwordKey: my secret":                        {`peers[0].passwordKey: "my secret": ` + key},
		"passwordKey: 12":                               {`peers[0].passwordKey: 12: a number; write "12", with the quotes`},
		"restartTime: 4096s":                            {`peers[0].restartTime: "4096s": write a duration from 0s to 1h8m15s`},
		"restartTime: 30":                               {`peers[0].restartTime: 30: has no unit; write 30s`},
		"restartTime: 500ms":                            {`peers[0].restartTime: "500ms": write whole seconds, such as 1s`},
		"restartTime: off":                              {`peers[0].restartTime: "off": not a duration; write one such as 90s or 5m`},
		"bfdProfile: fast":                              {`peers[0].bfdProfile: "fast": unknown BFD profile; write one of default`},
		"bfdProfile: defalut":                           {`peers[0].bfdProfile: "defalut": unknown BFD profile; did you mean default?`},
		"bfdProfile: fsat\nbfdProfiles: [{name: fast}]": {`peers[0].bfdProfile: "fsat": unknown BFD profile; did you mean fast?`},
		"bfdProfile: true":                              {`peers[0].bfdProfile: true: a boolean; write "true", with the quotes`},
		"bfd: fast":                                     {`peers[0].bfd: unknown key; known here are addPath, address, addressFrom, addressRange, asn, asnFrom, bfdProfile, community, connectRetryTime, ebgpMultihop, holdTime, interface, keepaliveTime, linkBandwidth, localASN, name, nodeSelector, overrides, passive, passwordKey, port, restartTime, sourceAddress, sourceAddressFrom, ttlSecurity, weights`},
		"nodeSelector: {rack: a}":                       {`peers[0].nodeSelector.rack: unknown key; known here are matchExpressions, matchLabels`},
	})
	wantFaults(t, inWho, map[string][]string{
		"interface: eth0, ebgpMultihop: 1":                        nil,
		"interface: eth0, ebgpMultihop: 2":                        {`peers[0].ebgpMultihop: 2: the peer is on the link, one hop away; leave it out`},
		"interface: eth0, address: 'fe80::1', ebgpMultihop: 2":    {`peers[0].ebgpMultihop: 2: the peer is on the link, one hop away; leave it out`},
		"interface: eth0, sourceAddress: 'fe80::5'":               {`peers[0].sourceAddress: an unnumbered session has the link-local address of its interface; leave it out`},
		"interface: eth0, sourceAddressFrom: {nodeLabel: source}": {`peers[0].sourceAddressFrom: an unnumbered session has the link-local address of its interface; leave it out`},
		"addressRange: 10.0.0.0/24, sourceAddress: '2001:db8::5'": {`peers[0].sourceAddress: "2001:db8::5": the source is IPv6 and the peer IPv4; write two addresses of one family`},
	})
}

func TestEncodingFaults(t *testing.T) {
	const (
		base = "write an AS number and the number that weights are added to, such as 64512:100"
	)
	wantFaults(t, inPeer, map[string][]string{
		"weights: none":                                          nil,
		"weights: linkBandwidth":                                 nil,
		"weights: community\n  community: 64512:100":             nil,
		"weights: community\n  community: '65534:65279'":         nil,
		"weights: addPath\n  addPath: {prefixes: [10.1.0.0/24]}": nil,
		"weights: auto":                                          {`peers[0].weights: "auto": write linkBandwidth or community or addPath or none`},
		"weights: communities\n  community: 64512:100":           {`peers[0].weights: "communities": write linkBandwidth or community or addPath or none`},
		"weights: community":                                     nil,
		"weights: [community]":                                   nil,
		"weights: [linkBandwidth, community]":                    nil,
		"community: 64512:100":                                   nil,
		"linkBandwidth: both":                                    nil,
		"weights: []":                                            {`peers[0].weights: names no encoding; write none, or leave it out`},
		"weights: [community, community]":                        {`peers[0].weights[1]: "community": twice; leave one out`},
		"weights: [linkBandwidth, addPath]":                      {`peers[0].weights[1]: "addPath": goes with no other encoding; write weights: addPath, without a list`},
		"weights: [none]":                                        {`peers[0].weights[0]: "none": goes with no other encoding; write weights: none, without a list`},
		"weights: [auto]":                                        {`peers[0].weights[0]: "auto": write linkBandwidth or community or addPath or none`},
		"weights: {}":                                            {`peers[0].weights: a mapping; write a string`},
		"weights: community\n  localASN: 4200000000":             {`peers[0].community: required with weights: community and the AS number 4200000000, which does not fit a community (RFC 1997); write the AS number and the number that weights are added to, such as 64512:100`},
		"localASN: 4200000000":                                   nil,
		"weights: none\n  community: 64512:100":                  {`peers[0].community: only with weights: community; write that as well, or leave it out`},
		"weights: none\n  linkBandwidth: transitive":             {`peers[0].linkBandwidth: only with weights: linkBandwidth; write that as well, or leave it out`},
		"addPath: {prefixes: [10.1.0.0/24]}":                     {`peers[0].addPath: only with weights: addPath; write that as well, or leave it out`},
		"weights: addPath":                                       {`peers[0].addPath: required with weights: addPath; write the prefixes of the nodes' aliases, such as {prefixes: [10.0.1.0/24]}`},
		"weights: community\n  community: 64512":                 {`peers[0].community: 64512: a number; write "64512", with the quotes`},
		"weights: community\n  community: 64512:1:2":             {`peers[0].community: "64512:1:2": ` + base},
		"weights: community\n  community: 64512:x":               {`peers[0].community: "64512:x": ` + base},
		"weights: community\n  community: 64512:65280":           {`peers[0].community: "64512:65280": weights up to 256 are added to 65280; write at most 64512:65279`},
		"weights: community\n  community: 64512:99999":           {`peers[0].community: "64512:99999": weights up to 256 are added to 99999; write at most 64512:65279`},
		"weights: community\n  community: 4200000000:1":          {`peers[0].community: "4200000000:1": 4200000000 does not fit a community (RFC 1997), which has 16 bits for it; write a private AS number such as 64512`},
		"weights: community\n  community: 65535:1":               {`peers[0].community: "65535:1": the communities of 65535 have meanings of their own (RFC 1997); write an AS number of yours`},
	})
	const addPath = peer + "  weights: addPath\n  addPath: {%s}\n"
	wantFaults(t, addPath, map[string][]string{
		"prefixes: [10.1.0.0/24, 10.2.0.0/24, 'fd00:1::/64'], width: 8": nil,
		"":                                               {`peers[0].addPath.prefixes: required; write at least one, such as [10.0.1.0/24]`},
		"width: 64":                                      {`peers[0].addPath.prefixes: required; write at least one, such as [10.0.1.0/24]`},
		"prefixes: []":                                   {`peers[0].addPath.prefixes: required; write at least one, such as [10.0.1.0/24]`},
		"prefixes: 10.1.0.0/24":                          {`peers[0].addPath.prefixes: "10.1.0.0/24": a string; write a list`},
		"prefixes: [10.1.0.1/24]":                        {`peers[0].addPath.prefixes[0]: "10.1.0.1/24": has host bits; write 10.1.0.0/24`},
		"prefixes: [10.1.0.1/32]":                        {`peers[0].addPath.prefixes[0]: "10.1.0.1/32": write a length from /8 to /30`},
		"prefixes: ['fd00:1::1/128']":                    {`peers[0].addPath.prefixes[0]: "fd00:1::1/128": write a length from /8 to /126`},
		"prefixes: [10.1.0.0/24, 10.1.0.0/25]":           {`peers[0].addPath.prefixes[1]: "10.1.0.0/25": overlaps peers[0].addPath.prefixes[0], "10.1.0.0/24"`},
		"prefixes: [192.0.2.128/25]":                     {`peers[0].addPath.prefixes[0]: "192.0.2.128/25": overlaps pools[0].ranges[0], "192.0.2.0/24", which Services get; write another prefix, or take it out of the pool`},
		"prefixes: [10.1.0.0/24], width: 1":              {`peers[0].addPath.width: 1: write a whole number from 2 to 1024`},
		"prefixes: [10.1.0.0/24], width: 2000":           {`peers[0].addPath.width: 2000: write a whole number from 2 to 1024`},
		"prefix: [10.1.0.0/24], prefixes: [10.1.0.0/24]": {`peers[0].addPath.prefix: unknown key; did you mean prefixes?`},
	})
}

// What a peer learns weights by, if that is not written, depends on the rest.
func TestDefaultEncodings(t *testing.T) {
	const peer = "\n- name: tor\n  address: 10.0.0.1\n  asn: 64512\n"
	for _, tt := range []struct{ desc, asn, peer, more, want string }{
		{"nothing is written", "64513", peer, "", "linkBandwidth,community both 64513:10000"},
		{"another AS on this session", "64513", peer + "  localASN: 64999\n", "", "linkBandwidth,community both 64999:10000"},
		{"an AS number of 32 bits", "4200000000", peer, "", "linkBandwidth both 0:0"},
		{"and a community that fits", "4200000000", peer + "  community: 64512:100\n", "", "linkBandwidth,community both 64512:100"},
		{"a form", "64513", peer + "  linkBandwidth: transitive\n", "", "linkBandwidth,community transitive 64513:10000"},
		{"an encoding", "64513", peer + "  weights: linkBandwidth\n", "", "linkBandwidth both 0:0"},
		{"another", "64513", peer + "  weights: community\n", "", "community both 64513:10000"},
		{
			"an advertisement gives the community another meaning", "64513", peer,
			"advertisements: [{communities: ['64513:10003']}]\n", "linkBandwidth both 0:0",
		},
		{
			"it does so elsewhere", "64513", peer,
			"advertisements: [{communities: ['64513:10257', '64512:10003']}]\n", "linkBandwidth,community both 64513:10000",
		},
		{
			"it does so for another peer", "64513", peer + "- {name: other, address: 10.0.0.2, asn: 64512}\n",
			"advertisements: [{peers: [other], communities: ['64513:10003']}]\n", "linkBandwidth,community both 64513:10000",
		},
	} {
		c, err := Parse([]byte("apiVersion: heraldlb.io/v1\npools: [{name: p, ranges: [192.0.2.0/24]}]\npeers:" + tt.peer + tt.more + "bgp: {asn: " + tt.asn + "}\n"))
		if err != nil {
			t.Errorf("%s: %v", tt.desc, err)
			continue
		}
		p := c.Peers[0]
		if got := fmt.Sprint(p.Weights, " ", p.LinkBandwidth, " ", p.Community); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.desc, got, tt.want)
		}
	}
}
