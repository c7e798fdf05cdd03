package bgp

import (
	"math"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/internal/config"
)

// asTrans stands for an AS number that needs more than 16 bits (RFC 6793).
const asTrans = 23456

// path is a path as gobgp takes it.
func path(r pathName, a attributes) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(r.prefix)
	if err != nil {
		return nil, err
	}
	family := familyOf(r.prefix)
	// gobgp rebuilds this attribute in the form that the family needs.
	reach, err := bgp.NewPathAttributeMpReachNLRI(family, []bgp.PathNLRI{{NLRI: nlri}}, a.nextHop)
	if err != nil {
		return nil, err
	}
	attrs := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP)}
	attrs = append(attrs, a.preference()...)
	attrs = append(attrs, a.communities()...)
	return &apiutil.Path{Family: family, Nlri: nlri, RemoteID: r.id, Attrs: append(attrs, reach)}, nil
}

// preference is what routers compare routes by.
func (a attributes) preference() (list []bgp.PathAttributeInterface) {
	var more config.Attributes
	if a.more != nil {
		more = *a.more
	}
	if !a.internal && more.Prepend > 0 {
		// gobgp puts our AS in front once by itself.
		list = append(list, bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{
			bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, slices.Repeat([]uint32{a.asn}, more.Prepend)),
		}))
	}
	if more.MED != nil {
		list = append(list, bgp.NewPathAttributeMultiExitDisc(*more.MED))
	}
	switch {
	case !a.internal: // LOCAL_PREF is not for other systems (RFC 4271 section 5.1.5)
	case a.draining:
		list = append(list, bgp.NewPathAttributeLocalPref(0))
	case more.LocalPref != nil:
		list = append(list, bgp.NewPathAttributeLocalPref(*more.LocalPref))
	}
	return list
}

// communities are all communities of a path: those that were asked for, the
// weight, and GRACEFUL_SHUTDOWN (RFC 8326).
func (a attributes) communities() (list []bgp.PathAttributeInterface) {
	var standard []uint32
	var large []*bgp.LargeCommunity
	if a.more != nil {
		standard = slices.Clone(a.more.Communities)
		for _, c := range a.more.LargeCommunities {
			large = append(large, &bgp.LargeCommunity{ASN: c.GlobalAdmin, LocalData1: c.LocalData1, LocalData2: c.LocalData2})
		}
	}
	if a.encodings.Has(config.EncodeCommunity) {
		standard = append(standard, weightCommunity(a))
	}
	if a.draining {
		standard = append(standard, gracefulShutdown)
	}
	slices.Sort(standard)
	if standard = slices.Compact(standard); len(standard) > 0 {
		list = append(list, bgp.NewPathAttributeCommunities(standard))
	}
	if len(large) > 0 {
		list = append(list, bgp.NewPathAttributeLargeCommunities(large))
	}
	if a.encodings.Has(config.EncodeLinkBandwidth) {
		list = append(list, hidden{bgp.NewPathAttributeExtendedCommunities(linkBandwidth(a))})
	}
	return list
}

// gracefulShutdown is 65535:0 (RFC 8326).
const gracefulShutdown = 0xffff_0000

func weightCommunity(a attributes) uint32 {
	return uint32(a.community.ASN)<<16 + uint32(a.community.Base) + min(a.weight, config.MaxCommunityWeight)
}

// withdrawal names a path that gobgp shall forget.
func withdrawal(r pathName) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(r.prefix)
	return &apiutil.Path{Family: familyOf(r.prefix), Nlri: nlri, RemoteID: r.id, Withdrawal: true}, err
}

func familyOf(p netip.Prefix) bgp.Family {
	if p.Addr().Is4() {
		return bgp.RF_IPv4_UC
	}
	return bgp.RF_IPv6_UC
}

// linkBandwidth is the community of RFC 10005, in one form or in both, whose values
// must be equal then (section 7.1). It always has the bare weight, never a real
// bandwidth: FRR 8 keeps it in 32 bits and drops fractions.
func linkBandwidth(a attributes) (forms []bgp.ExtendedCommunityInterface) {
	asn := a.asn
	if asn > math.MaxUint16 {
		asn = asTrans
	}
	bandwidth := float32(a.weight)
	if a.bandwidth != config.NonTransitive {
		forms = append(forms, bgp.NewTwoOctetAsSpecificExtended(bgp.EC_SUBTYPE_LINK_BANDWIDTH, uint16(asn), math.Float32bits(bandwidth), true))
	}
	if a.bandwidth != config.Transitive {
		forms = append(forms, bgp.NewLinkBandwidthExtended(uint16(asn), bandwidth))
	}
	return forms
}

// hidden carries extended communities through a gobgp VRF. On the way to a peer
// gobgp removes the attribute of that type from the VRF's routes, because there
// it keeps the route targets; so in here it goes by a type that nobody uses. On
// the wire it is what it is.
type hidden struct {
	*bgp.PathAttributeExtendedCommunities
}

// 21 was AS_PATHLIMIT, which RFC 6938 deprecates.
func (hidden) GetType() bgp.BGPAttrType { return 21 }
