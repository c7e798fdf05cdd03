package config

import "testing"

func TestNodesFaults(t *testing.T) {
	const known = "known here are cordoned, drainAnnotation, drainTaint, drainTime, forwardingGate, fuse, stateMaxAge"
	wantFaults(t, pool+"nodes: {%s}\n", map[string][]string{
		"":                                       nil,
		"cordoned: keep":                         nil,
		"cordoned: leave":                        nil,
		"drainTaint: maintenance":                nil,
		"drainAnnotation: example.com/drain":     nil,
		"drainTime: 0s":                          nil,
		"drainTime: 500ms":                       nil,
		"forwardingGate: off":                    nil,
		"forwardingGate: false":                  nil,
		"stateMaxAge: 0s":                        nil,
		"fuse: {}":                               nil,
		"fuse: {percent: 100}":                   nil,
		"fuse: {holdTime: 0s}":                   nil,
		"cordoned: yes":                          {`nodes.cordoned: "yes": write keep or leave`},
		"drained: keep":                          {`nodes.drained: unknown key; ` + known},
		"drainTaints: a":                         {`nodes.drainTaints: unknown key; did you mean drainTaint?`},
		`drainTaint: ""`:                         {`nodes.drainTaint: "": not the key of a label, such as app or example.com/tier`},
		"drainTaint: heraldlb.io/drain=true":     {`nodes.drainTaint: "heraldlb.io/drain=true": not the key of a label, such as app or example.com/tier`},
		"drainTaint: [a]":                        {`nodes.drainTaint: a list; write a string`},
		"drainAnnotation: true":                  {`nodes.drainAnnotation: true: a boolean; write "true", with the quotes`},
		"drainTime: 5":                           {`nodes.drainTime: 5: has no unit; write 5s`},
		"drainTime: 2h":                          {`nodes.drainTime: "2h": write a duration from 0s to 1h`},
		"forwardingGate: on":                     {`nodes.forwardingGate: "on": write auto or off`},
		"stateMaxAge: 1d":                        {`nodes.stateMaxAge: "1d": not a duration; write one such as 90s or 5m`},
		"stateMaxAge: 1000h":                     {`nodes.stateMaxAge: "1000h": write a duration from 0s to 720h`},
		"fuse: off":                              {`nodes.fuse: "off": a string; write a mapping with the keys holdTime, percent`},
		"fuse: {percent: 0}":                     {`nodes.fuse.percent: 0: write a whole number from 1 to 100`},
		"fuse: {percent: 101}":                   {`nodes.fuse.percent: 101: write a whole number from 1 to 100`},
		"fuse: {percent: 50%}":                   {`nodes.fuse.percent: "50%": write a whole number from 1 to 100`},
		"fuse: {holdTime: 30}":                   {`nodes.fuse.holdTime: 30: has no unit; write 30s`},
		"fuse: {holdtime: 30s, percent: \"50\"}": {`nodes.fuse.holdtime: unknown key; did you mean holdTime?`, `nodes.fuse.percent: "50": a string; write 50, without quotes`},
	})
}

func TestBGPFaults(t *testing.T) {
	wantFaults(t, inBGP, map[string][]string{
		"listenPort: 1179":  nil,
		"listenPort: 0":     {`bgp.listenPort: 0: write a whole number from 1 to 65535`},
		"listenPort: 70000": {`bgp.listenPort: 70000: write a whole number from 1 to 65535`},
		"listen: 179":       {`bgp.listen: unknown key; known here are asn, listenPort, overrides, weights`},
		"asn: external":     {`bgp.asn: "external": write a whole number from 1 to 4294967294`},
		"overrides: {}":     {`bgp.overrides: a mapping; write a list`},
		"overrides: [a]":    {`bgp.overrides[0]: "a": a string; write a mapping with the keys asn, nodeSelector, routerID`},
	})
	const rackA = "nodeSelector: {matchLabels: {rack: a}}"
	wantFaults(t, pool+"bgp:\n  asn: 64512\n  overrides:\n  - {%s}\n", map[string][]string{
		rackA + ", asn: 64600":                          nil,
		rackA + ", routerID: 10.255.0.1":                nil,
		"asn: 64600":                                    {`bgp.overrides[0].nodeSelector: required`},
		"nodeSelector: {}, asn: 64600":                  {`bgp.overrides[0].nodeSelector: selects every node; change the setting itself instead, or write matchLabels or matchExpressions`},
		rackA:                                           {`bgp.overrides[0]: changes nothing; add asn or routerID`},
		rackA + ", routerID: 1":                         {`bgp.overrides[0].routerID: 1: a number; write "1", with the quotes`},
		rackA + ", routerID: n1":                        {`bgp.overrides[0].routerID: "n1": write it like an IPv4 address, such as 10.255.0.1 (RFC 6286)`},
		rackA + ", routerID: '2001:db8::1'":             {`bgp.overrides[0].routerID: "2001:db8::1": write it like an IPv4 address, such as 10.255.0.1 (RFC 6286)`},
		rackA + ", routerID: 0.0.0.0":                   {`bgp.overrides[0].routerID: "0.0.0.0": write it like an IPv4 address, such as 10.255.0.1 (RFC 6286)`},
		rackA + ", asn: 65535":                          {`bgp.overrides[0].asn: 65535: is reserved by RFC 7300; write a number that is yours, or a private one such as 64512`},
		rackA + ", listenPort: 1179":                    {`bgp.overrides[0]: changes nothing; add asn or routerID`, `bgp.overrides[0].listenPort: unknown key; known here are asn, nodeSelector, routerID`},
		rackA + ", asn: 1}\n  - {" + rackA + ", asn: 2": {`bgp.overrides[1].nodeSelector: bgp.overrides[0].nodeSelector is the same, and the first one counts; leave one of them out`},
	})
}

func TestBFDProfileFaults(t *testing.T) {
	wantFaults(t, pool+"bfdProfiles:\n- {%s}\n", map[string][]string{
		"name: fast":                                nil,
		"name: default, detectMultiplier: 5":        nil,
		"name: a, receiveInterval: 10ms":            nil,
		"name: a, transmitInterval: 1m":             nil,
		"name: a, detectMultiplier: 255":            nil,
		"name: a, strict: true":                     nil,
		"name: a, strict: yes":                      {`bfdProfiles[0].strict: "yes": write true or false, without quotes`},
		"receiveInterval: 50ms":                     {`bfdProfiles[0].name: required`},
		"name: Fast":                                {`bfdProfiles[0].name: "Fast": write at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends`},
		"name: a, receiveInterval: 50":              {`bfdProfiles[0].receiveInterval: 50: has no unit; write 50s`},
		"name: a, receiveInterval: 5ms":             {`bfdProfiles[0].receiveInterval: "5ms": write a duration from 10ms to 1m`},
		"name: a, receiveInterval: 61s":             {`bfdProfiles[0].receiveInterval: "61s": write a duration from 10ms to 1m`},
		"name: a, transmitInterval: 33.3ms":         {`bfdProfiles[0].transmitInterval: "33.3ms": write whole milliseconds, such as 34ms`},
		"name: a, detectMultiplier: 0":              {`bfdProfiles[0].detectMultiplier: 0: write a whole number from 1 to 255`},
		"name: a, detectMultiplier: 256":            {`bfdProfiles[0].detectMultiplier: 256: write a whole number from 1 to 255`},
		"name: a, multiplier: 3":                    {`bfdProfiles[0].multiplier: unknown key; known here are detectMultiplier, name, receiveInterval, strict, transmitInterval`},
		"name: a, echoInterval: 50ms":               {`bfdProfiles[0].echoInterval: unknown key; did you mean receiveInterval?`},
		"name: a}\n- {name: a, detectMultiplier: 5": {`bfdProfiles[1].name: "a": bfdProfiles[0].name has it already; it must be unique`},
	})
}
