package config

import (
	"cmp"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/heraldlb/herald/internal/cluster"
)

// alternative is one of several keys of which a peer has at most one.
type alternative struct {
	key   string
	clear func(*Peer)
}

var alternatives = [][]alternative{
	{
		{"address", func(p *Peer) { p.Address = netip.Addr{} }},
		{"addressFrom", func(p *Peer) { p.AddressFrom = From{} }},
		{"addressRange", func(p *Peer) { p.AddressRange = netip.Prefix{} }},
	},
	{
		{"asn", func(p *Peer) { p.ASN, p.External = 0, false }},
		{"asnFrom", func(p *Peer) { p.ASNFrom = From{} }},
	},
	{
		{"sourceAddress", func(p *Peer) { p.SourceAddress = netip.Addr{} }},
		{"sourceAddressFrom", func(p *Peer) { p.SourceAddressFrom = From{} }},
	},
	{
		{"ebgpMultihop", func(p *Peer) { p.EBGPMultihop = 0 }},
		{"ttlSecurity", func(p *Peer) { p.TTLSecurity = 0 }},
	},
}

// replaceAlternatives drops what an override inherits, where it has an
// alternative of its own.
func (d *peerDraft) replaceAlternatives() {
	for _, group := range alternatives {
		if !slices.ContainsFunc(group, func(a alternative) bool { return d.own[a.key] }) {
			continue
		}
		for _, a := range group {
			if !d.own[a.key] {
				a.clear(&d.Peer)
				delete(d.at, a.key)
			}
		}
	}
}

// refuseTwoAlternatives complains at the one that comes later in the file.
func (d *peerDraft) refuseTwoAlternatives() {
	for _, group := range alternatives {
		var written []spot
		for _, a := range group {
			if d.own[a.key] {
				written = append(written, d.at[a.key])
			}
		}
		slices.SortFunc(written, spot.compare)
		for i := 1; i < len(written); i++ {
			written[i].fault("not together with %s; leave one of them out", written[0].path)
		}
	}
}

// requireWho complains of a peer that nothing says the address or the AS of.
func (d *peerDraft) requireWho() {
	if d.node.Kind != yaml.MappingNode {
		return
	}
	who := cmp.Or(d.at["address"].present(), d.at["addressFrom"].present(), d.at["addressRange"].present(), d.at["interface"].present())
	if !who {
		d.faults.add(d.node, join(d.path, "address"), "required; or write addressFrom, addressRange, or interface alone")
	}
	if !d.at["asn"].present() && !d.at["asnFrom"].present() {
		d.faults.add(d.node, join(d.path, "asn"), "required; write the peer's AS number, or external, or asnFrom")
	}
}

// unnumbered tells whether the link alone says who the neighbour is.
func (d *peerDraft) unnumbered() bool {
	return d.at["interface"].present() && !d.at["address"].present() && !d.at["addressFrom"].present() && !d.at["addressRange"].present()
}

// checkWho judges addresses together with what else the peer has.
func (d *peerDraft) checkWho() {
	linkLocal := isLinkLocal(d.Address)
	// The routing table knows the way to 169.254.0.0/16, if there is one.
	if linkLocal && d.Address.Is6() && !d.at["interface"].present() && d.own["address"] {
		d.at["address"].fault("%q: is link-local; write the interface of the nodes as well, such as interface: eth0", d.Address)
	}
	if (linkLocal || d.unnumbered()) && d.own["ebgpMultihop"] && d.EBGPMultihop > 1 {
		d.at["ebgpMultihop"].fault("%d: the peer is on the link, one hop away; leave it out", d.EBGPMultihop)
	}
	for _, key := range []string{"sourceAddress", "sourceAddressFrom"} {
		if d.unnumbered() && d.own[key] {
			d.at[key].fault("an unnumbered session has the link-local address of its interface; leave it out")
		}
	}
	d.checkSource()
}

func (d *peerDraft) checkSource() {
	source, to := d.SourceAddress, d.Address
	if d.AddressRange.IsValid() {
		to = d.AddressRange.Addr()
	}
	keys := []string{"sourceAddress", "address", "addressRange"}
	i := slices.IndexFunc(keys, func(key string) bool { return d.own[key] })
	if i < 0 || !source.IsValid() || !to.IsValid() {
		return
	}
	key := keys[i]
	switch {
	case cluster.FamilyOf(source) != cluster.FamilyOf(to):
		d.at[key].fault("%q: the source is %s and the peer %s; write two addresses of one family", d.at[key].node.Value, cluster.FamilyOf(source), cluster.FamilyOf(to))
	case source == d.Address:
		d.at[key].fault("%q: is the address of the peer; write one of the node's own", d.at[key].node.Value)
	}
}

// from reads where a value is looked up on each node.
func (s spot) from(gateway bool) (f From) {
	known := fields{
		"nodeAnnotation": func(s spot) { f.NodeAnnotation = s.labelKey() },
		"nodeLabel":      func(s spot) { f.NodeLabel = s.labelKey() },
	}
	choice := "nodeAnnotation or nodeLabel"
	if gateway {
		choice = "defaultGateway, nodeAnnotation or nodeLabel"
		known["defaultGateway"] = func(s spot) {
			family, _ := s.oneOf(string(cluster.IPv4), string(cluster.IPv6))
			f.DefaultGateway = cluster.Family(family)
		}
	}
	n := 0
	for key, read := range known {
		known[key] = func(s spot) { n++; read(s) }
	}
	s.object(known)
	if s.node.Kind == yaml.MappingNode && (n > 1 || len(s.node.Content) == 0) {
		s.fault("write one of %s", choice)
	}
	return f
}
