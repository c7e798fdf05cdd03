package bgp

import (
	"math"
	"net/netip"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/internal/config"
)

// asTrans stands for an AS number that needs more than 16 bits (RFC 6793).
const asTrans = 23456

// path is a route as gobgp takes it.
func path(prefix netip.Prefix, a attributes, asn uint32) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(prefix)
	if err != nil {
		return nil, err
	}
	family := familyOf(prefix)
	// gobgp rebuilds this attribute in the form that the family needs.
	reach, err := bgp.NewPathAttributeMpReachNLRI(family, []bgp.PathNLRI{{NLRI: nlri}}, a.nextHop)
	if err != nil {
		return nil, err
	}
	return &apiutil.Path{
		Family: family,
		Nlri:   nlri,
		Attrs: []bgp.PathAttributeInterface{
			bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP),
			reach,
			hidden{bgp.NewPathAttributeExtendedCommunities([]bgp.ExtendedCommunityInterface{
				linkBandwidth(a, asn),
			})},
		},
	}, nil
}

// withdrawal names a route that gobgp shall forget.
func withdrawal(prefix netip.Prefix) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(prefix)
	return &apiutil.Path{Family: familyOf(prefix), Nlri: nlri, Withdrawal: true}, err
}

func familyOf(p netip.Prefix) bgp.Family {
	if p.Addr().Is4() {
		return bgp.RF_IPv4_UC
	}
	return bgp.RF_IPv6_UC
}

// linkBandwidth is the community of RFC 10005. It always has the bare weight,
// never a real bandwidth: FRR 8 keeps it in 32 bits and drops fractions.
func linkBandwidth(a attributes, asn uint32) bgp.ExtendedCommunityInterface {
	if asn > math.MaxUint16 {
		asn = asTrans
	}
	bandwidth := float32(a.weight)
	if a.bandwidth == config.Transitive {
		return bgp.NewTwoOctetAsSpecificExtended(bgp.EC_SUBTYPE_LINK_BANDWIDTH, uint16(asn), math.Float32bits(bandwidth), true)
	}
	return bgp.NewLinkBandwidthExtended(uint16(asn), bandwidth)
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
