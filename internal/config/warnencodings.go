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
	told  Told
	pools []bool // whose addresses some node may announce to it; nil: not asked yet
}

// Told is how a peer learns weights.
type Told struct {
	By        Encodings
	Form      LinkBandwidthForm
	Community CommunityWeights // zero: under our own AS number, as by default
}

func (v *variant) read() Told {
	t := Told{v.Weights, v.LinkBandwidth, v.Community}
	if !v.draft.at["community"].present() {
		t.Community = CommunityWeights{}
	}
	// Without a number that fits, the community is left out of the default. That is
	// no difference that anybody has written.
	if !v.draft.at["weights"].present() && !v.draft.at["community"].present() {
		t.By = defaultEncodings
	}
	return t
}

// Joint tells whether a router can read both.
func (t Told) Joint(o Told) bool {
	bandwidth := t.By.Has(EncodeLinkBandwidth) && o.By.Has(EncodeLinkBandwidth) && (t.Form == o.Form || t.Form == Both || o.Form == Both)
	return bandwidth || t.By.Has(EncodeCommunity) && o.By.Has(EncodeCommunity) && t.Community == o.Community
}

func (t Told) String() string {
	var words []string
	if t.By.Has(EncodeLinkBandwidth) {
		form := ""
		if t.Form != Both {
			form = " (" + string(t.Form) + ")"
		}
		words = append(words, "linkBandwidth"+form)
	}
	if t.By.Has(EncodeCommunity) {
		which := ""
		if t.Community.ASN != 0 {
			which = " " + t.Community.String()
		}
		words = append(words, "community"+which)
	}
	switch t.By {
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
	two := a.Name != b.Name && a.told.By != EncodeAddPath && b.told.By != EncodeAddPath && !a.told.Joint(b.told)
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

func remedyOf(a, b Told) string {
	if a.By.Has(EncodeLinkBandwidth) && b.By.Has(EncodeLinkBandwidth) {
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
