package config

import "slices"

// Equal tells whether two sets of attributes are the same; nil is the empty set.
func (a *Attributes) Equal(b *Attributes) bool {
	if a == b {
		return true
	}
	x, y := a.orNone(), b.orNone()
	return slices.Equal(x.Communities, y.Communities) && slices.Equal(x.LargeCommunities, y.LargeCommunities) &&
		same(x.LocalPref, y.LocalPref) && same(x.MED, y.MED) && x.Prepend == y.Prepend
}

func (a *Attributes) orNone() Attributes {
	if a == nil {
		return Attributes{}
	}
	return *a
}

func same(a, b *uint32) bool { return a == b || a != nil && b != nil && *a == *b }
