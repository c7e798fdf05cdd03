package config

import "testing"

func TestAnnounceFaults(t *testing.T) {
	const word = "write bgp or l2"
	wantFaults(t, inPool, map[string][]string{
		"announce: [bgp]":                              nil,
		"announce: [l2]":                               nil,
		"announce: [l2, bgp]":                          nil,
		"announce:":                                    nil,
		"announce: []":                                 {`pools[0].announce: empty; write [bgp], [l2] or [bgp, l2]`},
		"announce: l2":                                 {`pools[0].announce: "l2": a string; write a list`},
		"announce: [L2]":                               {`pools[0].announce[0]: "L2": ` + word},
		"announce: [l2, l2]":                           {`pools[0].announce[1]: "l2": pools[0].announce[0] has it already; it must be unique`},
		"announce: [l2, 2]":                            {`pools[0].announce[1]: 2: a number; write "2", with the quotes`},
		"interfaces: [eth0]":                           {`pools[0].interfaces: only layer 2 uses it; add l2 to announce, or leave it out`},
		"nodeSelector: {matchLabels: {rack: a}}":       nil,
		"nodeSelector: {matchLabels: {rack: [a]}}":     {`pools[0].nodeSelector.matchLabels.rack: a list; write a string`},
		"nodeSelector: {rack: a}":                      {`pools[0].nodeSelector.rack: unknown key; known here are matchExpressions, matchLabels`},
		"nodeSelector: {matchLabels: {}}\n  weight: 1": {`pools[0].weight: unknown key; did you mean weights?`},
	})
	wantFaults(t, inPool+"  announce: [l2]\n", map[string][]string{
		"interfaces: [eth0, 'bond?', 'ens*', eth0.7, br-lan]": nil,
		"excludeInterfaces: ['wl*']":                          nil,
		"interfaces: []":                                      {`pools[0].interfaces: empty; leave it out`},
		"interfaces: eth0":                                    {`pools[0].interfaces: "eth0": a string; write a list`},
		"interfaces: ['']":                                    {`pools[0].interfaces[0]: "": write the name of an interface, in which * stands for any characters and ? for one`},
		"interfaces: ['eth[01]']":                             {`pools[0].interfaces[0]: "eth[01]": write the name of an interface, in which * stands for any characters and ? for one`},
		"interfaces: [a/b]":                                   {`pools[0].interfaces[0]: "a/b": write the name of an interface, in which * stands for any characters and ? for one`},
		"excludeInterfaces: [a, a]":                           {`pools[0].excludeInterfaces[1]: "a": pools[0].excludeInterfaces[0] has it already; it must be unique`},
	})
}
