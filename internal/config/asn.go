package config

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// external is what a peer's asn may say instead of a number.
const external = "external"

// reservedASNs are the numbers that no AS can have.
var reservedASNs = map[string]string{
	"0":          "RFC 7607",
	"23456":      "RFC 6793",
	"65535":      "RFC 7300",
	"4294967295": "RFC 7300",
}

// asn reads the number of an AS.
func (s spot) asn() uint32 {
	if s.node.Kind != yaml.ScalarNode {
		n, _ := s.integer(1, math.MaxUint32-1)
		return uint32(n)
	}
	text := s.node.Value
	if n, ok := asDot(text); ok {
		s.fault("%s: is in the dotted form of RFC 5396; write %d", text, n)
		return 0
	}
	if digits, ok := strings.CutPrefix(strings.ToUpper(text), "AS"); ok && madeOf(digits, "0123456789", "") {
		s.fault("%q: write %s", text, digits)
		return 0
	}
	if rfc := reservedASNs[text]; rfc != "" && s.node.ShortTag() == "!!int" {
		s.fault("%s: is reserved by %s; write a number that is yours, or a private one such as 64512", text, rfc)
		return 0
	}
	n, _ := s.integer(1, math.MaxUint32-1)
	return uint32(n)
}

// peerASN reads the number of an AS, or external.
func (s spot) peerASN() (asn uint32, anyOther bool) {
	text := s.node.Value
	switch {
	case s.node.Kind != yaml.ScalarNode || s.node.ShortTag() != "!!str":
	case text == external:
		return 0, true
	case text == "internal" || text == "ibgp":
		s.fault("%q: write the AS number of the nodes, that of bgp.asn", text)
		return 0, false
	case nearest(text, []string{external}) != "" || text == "ebgp":
		s.fault("%q: write %s", text, external)
		return 0, false
	}
	return s.asn(), false
}

// asDot reads the form high.low, in which 1.10 means 65546.
func asDot(text string) (uint32, bool) {
	high, low, ok := strings.Cut(text, ".")
	h, err1 := strconv.ParseUint(high, 10, 16)
	l, err2 := strconv.ParseUint(low, 10, 16)
	return uint32(h<<16 | l), ok && err1 == nil && err2 == nil
}
