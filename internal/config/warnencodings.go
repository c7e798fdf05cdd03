package config

import (
	"net/netip"
	"slices"
	"strings"
)

// nodesets are nodes, by one way or another.
type nodesets []nodeset

func (n nodesets) none() bool {
	return !slices.ContainsFunc(n, func(s nodeset) bool { return !s.empty() })
}

// nodesOf are the nodes that announce a pool to a peer, or to one of its variants.
func (d draft) nodesOf(at *peerDraft, p Peer, pool Pool) (list nodesets) {
	if !pool.BGP {
		return nil
	}
	for _, a := range d.advertised() {
		if a.has(pool) && a.goesTo(p) {
			list = append(list, at.nodes.and(pool.NodeSelector, a.NodeSelector))
		}
	}
	return list
}

// variant is a peer as some nodes see it, and where the document says so.
type variant struct {
	Peer
	draft *peerDraft
	told  told
	pools []bool // whose addresses some node may announce to it; nil: not asked yet
}

// told is how a peer learns weights.
type told struct {
	by        Encodings
	form      LinkBandwidthForm
	community CommunityWeights // zero: under our own AS number, as by default
}

func (v *variant) read() told {
	t := told{v.Weights, v.LinkBandwidth, v.Community}
	if !v.draft.at["community"].present() {
		t.community = CommunityWeights{}
	}
	// Without a number that fits, the community is left out of the default. That is
	// no difference that anybody has written.
	if !v.draft.at["weights"].present() && !v.draft.at["community"].present() {
		t.by = defaultEncodings
	}
	return t
}

// joint tells whether a router can read both.
func (t told) joint(o told) bool {
	bandwidth := t.by.Has(EncodeLinkBandwidth) && o.by.Has(EncodeLinkBandwidth) && (t.form == o.form || t.form == Both || o.form == Both)
	return bandwidth || t.by.Has(EncodeCommunity) && o.by.Has(EncodeCommunity) && t.community == o.community
}

func (t told) String() string {
	var words []string
	if t.by.Has(EncodeLinkBandwidth) {
		form := ""
		if t.form != Both {
			form = " (" + string(t.form) + ")"
		}
		words = append(words, "linkBandwidth"+form)
	}
	if t.by.Has(EncodeCommunity) {
		which := ""
		if t.community.ASN != 0 {
			which = " " + t.community.String()
		}
		words = append(words, "community"+which)
	}
	switch t.by {
	case EncodeNone:
		return "no weights"
	case EncodeAddPath:
		return "weights by addPath"
	default:
		return "weights by " + strings.Join(words, " and ")
	}
}

// warnOfEncodings: addresses whose weights come in two ways. A router that knows
// only one of them spreads equally.
func (d draft) warnOfEncodings() {
	var before []*variant
	warned := map[string]bool{}
	for i, p := range d.Peers {
		for j, v := range variantsOf(&p) {
			b := &variant{Peer: *v, draft: d.peers[i][j]}
			b.told = b.read()
			for _, a := range before {
				if a.told != b.told {
					d.warnOfTwo(a, b, warned)
				}
			}
			before = append(before, b)
		}
	}
}

func (d draft) warnOfTwo(a, b *variant, warned map[string]bool) {
	if !b.written() {
		a, b = b, a // who has written something can change it
	}
	one := a.router().IsValid() && a.router() == b.router()
	two := a.Name != b.Name && a.told.by != EncodeAddPath && b.told.by != EncodeAddPath && !a.told.joint(b.told)
	at := b.whereTold()
	switch {
	case !one && !two || warned[at.path] || !d.together(a, b):
		return
	case one:
		at.warn("%sthe router %s gets %s from these nodes, and %s from those of %s, of the same addresses; most use weights only if all paths of an address have them, so write the same for all nodes",
			at.quoted(), b.router(), b.told, a.told, a.draft.path)
	default:
		at.warn("%speer %s gets %s, and peer %s %s, of the same addresses; a router behind both cannot compare them; %s",
			at.quoted(), b.Name, b.told, a.Name, a.told, remedyOf(a.told, b.told))
	}
	warned[at.path] = true
}

func remedyOf(a, b told) string {
	if a.by.Has(EncodeLinkBandwidth) && b.by.Has(EncodeLinkBandwidth) {
		return "leave linkBandwidth out, and both get both forms"
	}
	return "leave weights and community out, and both get linkBandwidth and community"
}

// together tells whether nodes may announce one address to both.
func (d draft) together(a, b *variant) bool {
	x, y := d.poolsOf(a), d.poolsOf(b)
	for i := range d.Pools {
		if x[i] && y[i] {
			return true
		}
	}
	return false
}

// poolsOf are the weighted pools whose addresses may be announced to a variant.
func (d draft) poolsOf(v *variant) []bool {
	if v.pools == nil {
		for _, p := range d.Pools {
			v.pools = append(v.pools, p.Weights && !d.nodesOf(v.draft, v.Peer, p).none())
		}
	}
	return v.pools
}

// router is the one router that the session is with; invalid: which one it is may
// depend on the node.
func (v *variant) router() netip.Addr {
	if isLinkLocal(v.Address) {
		return netip.Addr{}
	}
	return v.Address
}

// encodingSettings are the keys that say how a peer learns weights.
var encodingSettings = []string{"weights", "linkBandwidth", "community", "addPath"}

func (v *variant) written() bool {
	return slices.ContainsFunc(encodingSettings, func(key string) bool { return v.draft.at[key].present() })
}

// whereTold is the place that says how the peer learns weights: one of its own, if
// there is any.
func (v *variant) whereTold() spot {
	for _, own := range []bool{true, false} {
		for _, key := range encodingSettings {
			if s := v.draft.at[key]; s.present() && (v.draft.own[key] || !own) {
				return s
			}
		}
	}
	return v.draft.spot
}
