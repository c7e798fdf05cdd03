package config

import "testing"

func TestPeerFaults(t *testing.T) {
	const notPeer = "write an address of the peer"
	wantFaults(t, inPeer, map[string][]string{
		"port: 1179":                        nil,
		"holdTime: 3s":                      nil,
		"holdTime: 1m30s":                   nil,
		"connectRetryTime: 1s":              nil,
		"linkBandwidth: transitive":         nil,
		"{holdTime: 9s, keepaliveTime: 8s}": {`not YAML: line 10: could not find expected ':'`},
		"port: 0":                           {`peers[0].port: 0: write a whole number from 1 to 65535`},
		"port: 65536":                       {`peers[0].port: 65536: write a whole number from 1 to 65535`},
		"port: bgp":                         {`peers[0].port: "bgp": write a whole number from 1 to 65535`},
		"holdTime: 90":                      {`peers[0].holdTime: 90: has no unit; write 90s`},
		"holdTime: 1.5":                     {`peers[0].holdTime: 1.5: a number; write a duration such as 90s or 5m`},
		"holdTime: [90s]":                   {`peers[0].holdTime: a list; write a duration such as 90s or 5m`},
		"holdTime: 90 seconds":              {`peers[0].holdTime: "90 seconds": not a duration; write one such as 90s or 5m`},
		"holdTime: 0s":                      {`peers[0].holdTime: "0s": write at least 3s (RFC 4271 section 4.2)`},
		"holdTime: 2s":                      {`peers[0].holdTime: "2s": write at least 3s (RFC 4271 section 4.2)`},
		"holdTime: -3s":                     {`peers[0].holdTime: "-3s": write a duration from 0s to 18h12m15s`},
		"holdTime: 19h":                     {`peers[0].holdTime: "19h": write a duration from 0s to 18h12m15s`},
		"holdTime: 3500ms":                  {`peers[0].holdTime: "3500ms": write whole seconds, such as 4s`},
		"keepaliveTime: 0s":                 {`peers[0].keepaliveTime: "0s": write a duration from 1s to 18h12m15s`},
		"keepaliveTime: 90s":                {`peers[0].keepaliveTime: "90s": not less than the holdTime, 1m30s; write 30s`},
		"keepaliveTime: 1s\n  holdTime: 2s": {`peers[0].holdTime: "2s": write at least 3s (RFC 4271 section 4.2)`},
		"keepaliveTime: 4s\n  holdTime: 4s": {`peers[0].keepaliveTime: "4s": not less than the holdTime, 4s; write 1s`},
		"connectRetryTime: 100ms":           {`peers[0].connectRetryTime: "100ms": write a duration from 1s to 18h12m15s`},
		"linkBandwidth: non-transitive":     {`peers[0].linkBandwidth: "non-transitive": write both or nonTransitive or transitive`},
		"linkBandwidth: true":               {`peers[0].linkBandwidth: true: a boolean; write "true", with the quotes`},
		"holdtime: 9s":                      {`peers[0].holdtime: unknown key; did you mean holdTime?`},
		"password: secret":                  {`peers[0].password: unknown key; did you mean passwordKey?`},
	})

	wantFaults(t, peer+"- {name: b, asn: 64512, address: %s}\n", map[string][]string{
		"10.0.0.2":          nil,
		"'2001:db8::1'":     nil,
		"10.0.0.1":          {`peers[1].address: "10.0.0.1": peers[0].address has it already, on the same nodes; give the peers nodeSelectors that no node has both of`},
		"10.0.0.1, port: 1": {`peers[1].address: "10.0.0.1": peers[0].address has it already, on the same nodes; give the peers nodeSelectors that no node has both of`},
		"tor-b":             {`peers[1].address: "tor-b": not an IP address such as 10.0.0.1 or 2001:db8::1`},
		"'10.0.0.2:179'":    {`peers[1].address: "10.0.0.2:179": not an IP address such as 10.0.0.1 or 2001:db8::1`},
		"10.0.0.2/32":       {`peers[1].address: "10.0.0.2/32": not an IP address such as 10.0.0.1 or 2001:db8::1`},
		"'::ffff:10.0.0.2'": {`peers[1].address: "::ffff:10.0.0.2": IPv4 written as IPv6; write 10.0.0.2`},
		"'fe80::1%eth0'":    {`peers[1].address: "fe80::1%eth0": has a zone; write fe80::1, and interface: eth0`},
		"'fe80::1'":         {`peers[1].address: "fe80::1": is link-local; write the interface of the nodes as well, such as interface: eth0`},
		"0.0.0.0":           {`peers[1].address: "0.0.0.0": in 0.0.0.0/8 (this network, RFC 1122); ` + notPeer},
		"127.0.0.1":         {`peers[1].address: "127.0.0.1": in 127.0.0.0/8 (loopback, RFC 1122); ` + notPeer},
		"'::1'":             {`peers[1].address: "::1": in ::1/128 (loopback, RFC 4291); ` + notPeer},
		"224.0.0.5":         {`peers[1].address: "224.0.0.5": in 224.0.0.0/4 (multicast, RFC 5771); ` + notPeer},
		"255.255.255.255":   {`peers[1].address: "255.255.255.255": in 255.255.255.255/32 (limited broadcast, RFC 919); ` + notPeer},
		"192.0.2.1":         {`peers[1].address: "192.0.2.1": is in pools[0].ranges[0], "192.0.2.0/24", and could be handed out; take it out of the pool`},
		"12":                {`peers[1].address: 12: a number; write "12", with the quotes`},
		"":                  {`peers[1].address: required; or write addressFrom, addressRange, or interface alone`},
	})

	wantFaults(t, pool+"bgp: {asn: 64513}\npeers: %s\n", map[string][]string{
		"[{}]": {
			`peers[0].name: required`,
			`peers[0].address: required; or write addressFrom, addressRange, or interface alone`,
			`peers[0].asn: required; write the peer's AS number, or external, or asnFrom`,
		},
		"[{name: a, address: 10.0.0.1, asn: 64512}, {name: a, address: 10.0.0.2, asn: 64512}]": {
			`peers[1].name: "a": peers[0].name has it already; it must be unique`,
		},
		"{name: a, address: 10.0.0.1, asn: 64512}": {`peers: a mapping; write a list`},
	})
}

func TestASNFaults(t *testing.T) {
	const remedy = "; write a number that is yours, or a private one such as 64512"
	wantFaults(t, inBGP, map[string][]string{
		"asn: 1":                    nil,
		"asn: 64512":                nil,
		"asn: 4200000000":           nil,
		"asn: 4294967294":           nil,
		"asn: 0":                    {`bgp.asn: 0: is reserved by RFC 7607` + remedy},
		"asn: 23456":                {`bgp.asn: 23456: is reserved by RFC 6793` + remedy},
		"asn: 65535":                {`bgp.asn: 65535: is reserved by RFC 7300` + remedy},
		"asn: 4294967295":           {`bgp.asn: 4294967295: is reserved by RFC 7300` + remedy},
		"asn: 4294967296":           {`bgp.asn: 4294967296: write a whole number from 1 to 4294967294`},
		"asn: -1":                   {`bgp.asn: -1: write a whole number from 1 to 4294967294`},
		"asn: 99999999999999999999": {`bgp.asn: 99999999999999999999: write a whole number from 1 to 4294967294`},
		"asn: AS64512":              {`bgp.asn: "AS64512": write 64512`},
		"asn: 1.10":                 {`bgp.asn: 1.10: is in the dotted form of RFC 5396; write 65546`},
		`asn: "64512"`:              {`bgp.asn: "64512": a string; write 64512, without quotes`},
		"asn: 64_512":               {`bgp.asn: 64_512: write a whole number from 1 to 4294967294`},
		"asn: [1]":                  {`bgp.asn: a list; write a whole number from 1 to 4294967294`},
		"as: 64512":                 {`bgp.as: unknown key; did you mean asn?`},
	})
}

func TestASNIsRequiredWithPeers(t *testing.T) {
	const missing = "bgp.asn: required as soon as there is a peer; write the AS number of the nodes"
	const reserved = "bgp.asn: 0: is reserved by RFC 7607; write a number that is yours, or a private one such as 64512"
	wantFaults(t, pool+"%s\npeers: [{name: a, address: 10.0.0.1, asn: 64512}]\n", map[string][]string{
		"bgp: {asn: 64512}":  nil,
		"bgp: {asn: 0}":      {reserved},
		"bgp: {}":            {missing},
		"bgp: {weights: {}}": {missing},
		"bgp: {asn: }":       {missing},
		"bgp:":               {missing},
		"":                   {missing},
	})
}

func TestWeightsFaults(t *testing.T) {
	wantFaults(t, pool+"bgp: {weights: {%s}}\n", map[string][]string{
		"interval: 0s":       nil,
		"interval: 500ms":    nil,
		"minChange: 0":       nil,
		"minChange: 1000":    nil,
		"settleTime: 24h":    nil,
		"interval: 5":        {`bgp.weights.interval: 5: has no unit; write 5s`},
		"interval: 0":        {`bgp.weights.interval: 0: has no unit; write 0s`},
		"interval: 5 min":    {`bgp.weights.interval: "5 min": not a duration; write one such as 90s or 5m`},
		"interval: 25h":      {`bgp.weights.interval: "25h": write a duration from 0s to 24h`},
		"decreaseDelay: -1s": {`bgp.weights.decreaseDelay: "-1s": write a duration from 0s to 24h`},
		"settleTime: true":   {`bgp.weights.settleTime: true: a boolean; write a duration such as 90s or 5m`},
		"minChange: 25%":     {`bgp.weights.minChange: "25%": write a whole number from 0 to 1000`},
		"minChange: 0.25":    {`bgp.weights.minChange: 0.25: write a whole number from 0 to 1000`},
		"minChange: 1001":    {`bgp.weights.minChange: 1001: write a whole number from 0 to 1000`},
		"minchange: 25":      {`bgp.weights.minchange: unknown key; did you mean minChange?`},
	})
	wantFaults(t, inBGP, map[string][]string{
		"weights: auto": {`bgp.weights: "auto": a string; write a mapping with the keys decreaseDelay, interval, minChange, settleTime`},
	})
}
