package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The limits of weights that are told by communities or by paths.
const (
	maxWeight    = 256 // that a community can tell
	maxBase      = 65535 - maxWeight
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
	return c>>16 == uint32(w.ASN) && c&0xffff > uint32(w.Base) && c&0xffff <= uint32(w.Base)+maxWeight
}

func (s spot) encoding() Encoding {
	word, _ := s.oneOf(string(EncodeLinkBandwidth), string(EncodeCommunity), string(EncodeAddPath), string(EncodeNone))
	return Encoding(word)
}

func (s spot) linkBandwidth() LinkBandwidthForm {
	form, _ := s.oneOf(string(NonTransitive), string(Transitive))
	return LinkBandwidthForm(form)
}

// encodingKeys are the keys that go with one encoding each.
var encodingKeys = []struct {
	of       Encoding
	key      string
	required bool
	reset    func(*Peer)
}{
	{EncodeLinkBandwidth, "linkBandwidth", false, func(p *Peer) { p.LinkBandwidth = NonTransitive }},
	{EncodeCommunity, "community", true, func(p *Peer) { p.Community = CommunityWeights{} }},
	{EncodeAddPath, "addPath", true, func(p *Peer) { p.AddPath = AddPathReplication{} }},
}

// settleEncoding leaves only what goes with the encoding.
func (d *peerDraft) settleEncoding() {
	if d.Weights == "" {
		return // a fault already
	}
	for _, k := range encodingKeys {
		at := d.at[k.key]
		if d.Weights == k.of {
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
		problem = fmt.Sprintf("weights up to %d are added to %d; write at most %d:%d", maxWeight, base, asn, maxBase)
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
