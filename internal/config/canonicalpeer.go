package config

import "net/netip"

func (p Peer) wire() wirePeer {
	w := wirePeer{Name: p.Name, NodeSelector: p.NodeSelector.wire(), Settings: p.settings()}
	for _, o := range p.Overrides {
		w.Overrides = append(w.Overrides, wirePeerOverride{o.NodeSelector.wire(), o.settings()})
	}
	return w
}

// settings are written out in overrides, too: an override cannot take a setting
// of its peer away, so whatever is left out is not there in either.
func (p Peer) settings() wireSettings {
	w := wireSettings{
		Address:           addrText(p.Address),
		AddressFrom:       p.AddressFrom.wire(),
		AddressRange:      prefixText(p.AddressRange),
		Interface:         p.Interface,
		ASNFrom:           p.ASNFrom.wire(),
		LocalASN:          p.LocalASN,
		Passive:           p.Passive,
		SourceAddress:     addrText(p.SourceAddress),
		SourceAddressFrom: p.SourceAddressFrom.wire(),
		EBGPMultihop:      p.EBGPMultihop,
		TTLSecurity:       p.TTLSecurity,
		PasswordKey:       p.PasswordKey,
		HoldTime:          short(p.HoldTime),
		KeepaliveTime:     short(p.KeepaliveTime),
		ConnectRetryTime:  short(p.ConnectRetryTime),
		RestartTime:       short(p.RestartTime),
		BFDProfile:        p.BFDProfile,
		Weights:           p.Weights.words(),
	}
	switch {
	case p.External:
		w.ASN = external
	case p.ASN != 0:
		w.ASN = p.ASN
	}
	if !p.Passive {
		w.Port = p.Port
	}
	w.encode(p)
	return w
}

func (w *wireSettings) encode(p Peer) {
	if p.Weights.Has(EncodeLinkBandwidth) {
		w.LinkBandwidth = string(p.LinkBandwidth)
	}
	if p.Weights.Has(EncodeCommunity) {
		w.Community = p.Community.String()
	}
	if p.Weights.Has(EncodeAddPath) {
		w.AddPath = &wireAddPath{Width: p.AddPath.Width}
		for _, x := range p.AddPath.Prefixes {
			w.AddPath.Prefixes = append(w.AddPath.Prefixes, x.String())
		}
	}
}

func (f From) wire() *wireFrom {
	if f.IsZero() {
		return nil
	}
	return &wireFrom{string(f.DefaultGateway), f.NodeAnnotation, f.NodeLabel}
}

func (a Advertisement) wire() wireAdvertisement {
	w := wireAdvertisement{
		Pools:               a.Pools,
		Peers:               a.Peers,
		NodeSelector:        a.NodeSelector.wire(),
		ServiceSelector:     a.ServiceSelector.wire(),
		Namespaces:          a.Namespaces,
		PodCIDRs:            a.PodCIDRs,
		AggregationLength:   a.AggregationLength,
		AggregationLengthV6: a.AggregationLengthV6,
		LocalPref:           a.LocalPref,
		MED:                 a.MED,
		Prepend:             a.Prepend,
	}
	for _, c := range a.Communities {
		w.Communities = append(w.Communities, communityText(c))
	}
	for _, c := range a.LargeCommunities {
		w.Communities = append(w.Communities, c.String())
	}
	return w
}

// addrText is empty for no address.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}
