package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The limits of weights that are told by communities or by paths.
const (
	// MaxCommunityWeight is the greatest that a community can tell: BIRD loses a
	// route with more.
	MaxCommunityWeight = 256

	maxBase      = 65535 - MaxCommunityWeight
	defaultWidth = 64
	maxWidth     = 1024
	maxAliases   = 63 // of a node, in each family
)

// weightsAt is a peer that reads weights from communities.
type weightsAt struct {
	peer string
	CommunityWeights
}

// Tells says whether a community (RFC 1997) tells a weight.
func (w CommunityWeights) Tells(c uint32) bool {
	return c>>16 == uint32(w.ASN) && c&0xffff > uint32(w.Base) && c&0xffff <= uint32(w.Base)+MaxCommunityWeight
}

// encodingWords are the encodings as they are written, in their order.
var encodingWords = []struct {
	word string
	is   Encodings
}{
	{"linkBandwidth", EncodeLinkBandwidth},
	{"community", EncodeCommunity},
	{"addPath", EncodeAddPath},
	{"none", EncodeNone},
}

// Has tells whether e is one of the encodings.
func (es Encodings) Has(e Encodings) bool { return es&e != 0 }

// words are the encodings as they are written.
func (es Encodings) words() (words []string) {
	for _, e := range encodingWords {
		if es.Has(e.is) {
			words = append(words, e.word)
		}
	}
	return words
}

// String is a list with commas.
func (es Encodings) String() string { return strings.Join(es.words(), ",") }

// MarshalText is String, for /state.
func (es Encodings) MarshalText() ([]byte, error) { return []byte(es.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (es *Encodings) UnmarshalText(text []byte) error {
	*es = 0
	for _, e := range encodingWords {
		if slices.Contains(strings.Split(string(text), ","), e.word) {
			*es |= e.is
		}
	}
	if es.String() != string(text) {
		return fmt.Errorf("encodings of weights: %q", text)
	}
	return nil
}

// encodings reads one word, or a list of those that go together.
func (s spot) encodings() (es Encodings) {
	if s.node.Kind != yaml.SequenceNode {
		return s.encoding()
	}
	if s.isEmptyList() {
		s.fault("names no encoding; write none, or leave it out")
	}
	s.items(func(s spot) {
		e := s.encoding()
		switch {
		case e == EncodeNone || e == EncodeAddPath:
			s.fault("%q: goes with no other encoding; write weights: %s, without a list", s.node.Value, s.node.Value)
		case es.Has(e):
			s.fault("%q: twice; leave one out", s.node.Value)
		default:
			es |= e
		}
	})
	return es
}

func (s spot) encoding() Encodings {
	var words []string
	for _, e := range encodingWords {
		words = append(words, e.word)
	}
	got, _ := s.oneOf(words...)
	for _, e := range encodingWords {
		if e.word == got {
			return e.is
		}
	}
	return 0
}

func (s spot) linkBandwidth() LinkBandwidthForm {
	form, _ := s.oneOf(string(Both), string(NonTransitive), string(Transitive))
	return LinkBandwidthForm(form)
}

// encodingKeys are the keys that go with one encoding each.
var encodingKeys = []struct {
	of       Encodings
	key      string
	required bool
	reset    func(*Peer)
}{
	{EncodeLinkBandwidth, "linkBandwidth", false, func(p *Peer) { p.LinkBandwidth = Both }},
	{EncodeCommunity, "community", false, func(p *Peer) { p.Community = CommunityWeights{} }},
	{EncodeAddPath, "addPath", true, func(p *Peer) { p.AddPath = AddPathReplication{} }},
}

// defaultEncodings are those of a peer that names none.
const defaultEncodings = EncodeLinkBandwidth | EncodeCommunity

// settleEncoding leaves only what goes with the encodings.
func (d *peerDraft) settleEncoding() {
	weights := d.Weights
	if weights == 0 {
		if d.at["weights"].present() {
			return // a fault already
		}
		weights = defaultEncodings
	}
	for _, k := range encodingKeys {
		at := d.at[k.key]
		if weights.Has(k.of) {
			if k.required && !at.present() && (d.own["weights"] || !d.at["weights"].present()) {
				d.faults.add(d.at["weights"].node, join(d.path, k.key), "required with weights: %s%s", k.of, remedies[k.key])
			}
			continue
		}
		if d.own[k.key] {
			at.fault("only with weights: %s; write that as well, or leave it out", k.of)
		}
		k.reset(&d.Peer)
		delete(d.at, k.key)
	}
}

// defaultBase is what weights are added to where no community is written. Few give
// a meaning of their own to the 256 numbers after it.
const defaultBase = 10000

// settleWeights fills in what of the weights is not written and depends on the
// rest of the document.
func (r *peerReader) settleWeights(c *Config, advertisements []advertisementAt) {
	for i := range c.Peers {
		for _, p := range variantsOf(&c.Peers[i]) {
			implied := impliedCommunity(p, c.BGP.ASN)
			switch {
			case p.Community.ASN != 0:
			case p.Weights == 0 && implied.ASN == 0:
				p.Weights = EncodeLinkBandwidth
			case p.Weights == 0 && anyTells(advertisements, p.Name, implied):
				// It is only an offer. What the community means already stays true.
				p.Weights = EncodeLinkBandwidth
				r.offers = append(r.offers, weightsAt{p.Name, implied})
			case p.Weights == 0 || p.Weights.Has(EncodeCommunity):
				p.Community = implied
			}
			if p.Weights == 0 {
				p.Weights = defaultEncodings
			}
			if p.Weights.Has(EncodeCommunity) && p.Community.ASN != 0 {
				r.weights = append(r.weights, weightsAt{p.Name, p.Community})
			}
		}
	}
	for _, d := range r.numberless {
		if own := cmp.Or(d.LocalASN, c.BGP.ASN); own != 0 && impliedCommunity(&d.Peer, c.BGP.ASN).ASN == 0 {
			d.faults.add(d.at["weights"].node, join(d.path, "community"), "required with weights: community and the AS number %d, which does not fit a community (RFC 1997)%s", own, remedies["community"])
		}
	}
}

// variantsOf are a peer and its overrides.
func variantsOf(p *Peer) []*Peer {
	all := []*Peer{p}
	for i := range p.Overrides {
		all = append(all, &p.Overrides[i])
	}
	return all
}

// impliedCommunity tells weights under our own AS number, which gives communities
// their meaning (RFC 1997); none if that needs more than 16 bits.
func impliedCommunity(p *Peer, asn uint32) CommunityWeights {
	own := cmp.Or(p.LocalASN, asn)
	if own == 0 || own >= 65535 {
		return CommunityWeights{}
	}
	return CommunityWeights{uint16(own), defaultBase}
}

// anyTells tells whether an advertisement to the peer has a community that the
// peer would take for a weight.
func anyTells(advertisements []advertisementAt, peer string, w CommunityWeights) bool {
	return slices.ContainsFunc(advertisements, func(a advertisementAt) bool {
		return (len(a.Peers) == 0 || slices.Contains(a.Peers, peer)) && slices.ContainsFunc(a.Communities, w.Tells)
	})
}

// communityWeights reads an AS number and the number that weights are added to.
func (s spot) communityWeights() CommunityWeights {
	const form = "write an AS number and the number that weights are added to, such as 64512:100"
	text, ok := s.text()
	if !ok {
		return CommunityWeights{}
	}
	high, low, ok := strings.Cut(text, ":")
	asn, ok1 := decimal(high, 32)
	base, ok2 := decimal(low, 32)
	problem := ""
	switch {
	case !ok || !ok1 || !ok2:
		problem = form
	case asn == 0 || asn == 65535:
		problem = fmt.Sprintf("the communities of %d have meanings of their own (RFC 1997); write an AS number of yours", asn)
	case asn > 65535:
		problem = fmt.Sprintf("%d does not fit a community (RFC 1997), which has 16 bits for it; write a private AS number such as 64512", asn)
	case base > maxBase:
		problem = fmt.Sprintf("weights up to %d are added to %d; write at most %d:%d", MaxCommunityWeight, base, asn, maxBase)
	}
	if problem != "" {
		s.fault("%q: %s", text, problem)
		return CommunityWeights{}
	}
	return CommunityWeights{uint16(asn), uint16(base)}
}

// decimal reads a number of so many bits, in the one form that has no leading
// zeros.
func decimal(text string, bits int) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, bits)
	return uint32(n), err == nil && strconv.FormatUint(n, 10) == text
}

func (s spot) addPath() AddPathReplication {
	a := AddPathReplication{Width: defaultWidth}
	s.object(fields{
		"prefixes": func(s spot) { a.Prefixes = s.aliasPrefixes() },
		"width": func(s spot) {
			n, _ := s.integer(2, maxWidth)
			a.Width = int(n)
		},
	}, "prefixes")
	return a
}

func (s spot) aliasPrefixes() (prefixes []netip.Prefix) {
	if s.isEmptyList() {
		s.fault("required%s", remedies["prefixes"])
	}
	var ranges []rangeAt
	count := map[bool]int{}
	s.items(func(s spot) {
		// In a longer one there is no room for the nodes' own bits.
		p := s.prefix(8, 30, 126)
		if !p.IsValid() {
			return
		}
		if count[p.Addr().Is4()]++; count[p.Addr().Is4()] == maxAliases+1 {
			s.fault("%q: more than %d prefixes of its family; leave some out", s.node.Value, maxAliases)
		}
		prefixes = append(prefixes, p)
		ranges = append(ranges, rangeAt{Range: prefixRange(p), spot: s})
	})
	refuseOverlaps(ranges)
	return prefixes
}
