package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// wellKnown are the communities that have a name, as IANA registers them.
var wellKnown = map[string]uint32{
	"graceful-shutdown": 0xffff0000, // RFC 8326
	"accept-own":        0xffff0001, // RFC 7611
	"blackhole":         0xffff029a, // RFC 7999
	"no-export":         0xffffff01, // RFC 1997
	"no-advertise":      0xffffff02, // RFC 1997
	"local-as":          0xffffff03, // RFC 1997, NO_EXPORT_SUBCONFED
	"no-peer":           0xffffff04, // RFC 3765
}

// communities reads communities of both kinds, and says where each is.
func (s spot) communities(into *Attributes) (at []spot) {
	if s.isEmptyList() {
		s.fault("empty; leave it out")
	}
	seen := map[string]string{}
	s.items(func(s spot) {
		text, ok := s.text()
		if !ok {
			return
		}
		c, large, isLarge, problem := parseCommunity(text)
		switch {
		case problem != "":
			s.fault("%q: %s", text, problem)
			return
		case isLarge:
			s.uniqueAs(seen, large.String(), text)
			into.LargeCommunities = append(into.LargeCommunities, large)
		default:
			s.uniqueAs(seen, communityText(c), text)
			into.Communities = append(into.Communities, c)
			at = append(at, s)
		}
	})
	slices.Sort(into.Communities)
	slices.SortFunc(into.LargeCommunities, LargeCommunity.compare)
	return at
}

// parseCommunity gives a community, or a large one, or the problem with it.
func parseCommunity(text string) (c uint32, large LargeCommunity, isLarge bool, problem string) {
	if c, ok := wellKnown[text]; ok {
		return c, large, false, ""
	}
	parts := strings.Split(text, ":")
	var n [3]uint32
	ok := len(parts) == 2 || len(parts) == 3
	for i := 0; ok && i < len(parts); i++ {
		n[i], ok = decimal(parts[i], 32)
	}
	switch {
	case !ok:
		return 0, large, false, notCommunity(text)
	case len(parts) == 3:
		return 0, LargeCommunity{n[0], n[1], n[2]}, true, ""
	case n[0] > 65535 || n[1] > 65535:
		return 0, large, false, fmt.Sprintf("a community has two numbers up to 65535 (RFC 1997); write a large one, of three, such as %d:%d:0", n[0], n[1])
	}
	return n[0]<<16 | n[1], large, false, ""
}

func notCommunity(text string) string {
	names := slices.Sorted(maps.Keys(wellKnown))
	if n := nearest(strings.ReplaceAll(text, "_", "-"), names); n != "" {
		return "unknown community; did you mean " + n + "?"
	}
	return "not a community; write one such as 64512:100, a large one such as 64512:1:2, or one of " + strings.Join(names, ", ")
}

// communityText is a community as it is written: by its name, if it has one.
func communityText(c uint32) string {
	for name, value := range wellKnown {
		if value == c {
			return name
		}
	}
	return fmt.Sprintf("%d:%d", c>>16, c&0xffff)
}

// String is the form of RFC 8092.
func (c LargeCommunity) String() string {
	return fmt.Sprintf("%d:%d:%d", c.GlobalAdmin, c.LocalData1, c.LocalData2)
}

func (c LargeCommunity) compare(o LargeCommunity) int {
	return cmp.Or(cmp.Compare(c.GlobalAdmin, o.GlobalAdmin), cmp.Compare(c.LocalData1, o.LocalData1), cmp.Compare(c.LocalData2, o.LocalData2))
}
