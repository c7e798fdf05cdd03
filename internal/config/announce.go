package config

import "strings"

// The words of announce.
const (
	announceBGP = "bgp"
	announceL2  = "l2"
)

func (p Pool) protocols() (words []string) {
	if p.BGP {
		words = append(words, announceBGP)
	}
	if p.L2 {
		words = append(words, announceL2)
	}
	return words
}

// announce reads by which protocols a pool is announced.
func (s spot) announce() (bgp, l2 bool) {
	if s.isEmptyList() {
		s.fault("empty; write [bgp], [l2] or [bgp, l2]")
	}
	seen := map[string]string{}
	s.items(func(s spot) {
		word, ok := s.oneOf(announceBGP, announceL2)
		if !ok {
			return
		}
		s.unique(seen, word)
		bgp, l2 = bgp || word == announceBGP, l2 || word == announceL2
	})
	return bgp, l2
}

// interfaces reads names of network interfaces, or patterns of such.
func (s spot) interfaces() (patterns []string) {
	// A template that renders to nothing would mean every interface.
	if s.isEmptyList() {
		s.fault("empty; leave it out")
	}
	seen := map[string]string{}
	s.items(func(s spot) {
		p, ok := s.text()
		if ok && !isInterfacePattern(p) {
			s.fault("%q: write the name of an interface, in which * stands for any characters and ? for one", p)
			return
		}
		s.unique(seen, p)
		patterns = append(patterns, p)
	})
	return patterns
}

// isInterfacePattern refuses what no interface can be called, and what would
// have a meaning of its own in a pattern.
func isInterfacePattern(p string) bool {
	return p != "" && !strings.ContainsAny(p, "/[]\\ \t\r\n")
}

func refuseWithoutLayer2(spots []spot) {
	for _, s := range spots {
		s.fault("only layer 2 uses it; add l2 to announce, or leave it out")
	}
}
