package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
)

// draft is a valid configuration, and where in the document everything is.
type draft struct {
	*Config
	root           spot
	pools          []spot
	peers          [][]*peerDraft // as in Config.Peers: each peer, then its overrides
	offers         []weightsAt
	advertisements []advertisementAt
}

// warn notes what is valid, but hardly does what was meant. What is right for
// somebody must not be here: nobody reads warnings that are always there.
func (d draft) warn() {
	d.warnOfSilence()
	d.warnOfAttributes()
	d.warnOfOffers()
	d.warnOfPaths()
	d.warnOfEncodings()
}

// warnOfSilence: pools and peers that nothing is announced of, or to.
func (d draft) warnOfSilence() {
	var silent []string
	for i, p := range d.Pools {
		switch {
		case len(d.Peers) == 0 && p.BGP && !p.L2:
			silent = append(silent, p.Name)
		case len(d.Peers) > 0 && p.BGP && !slices.ContainsFunc(d.advertised(), func(a Advertisement) bool { return a.has(p) }):
			d.pools[i].warn("no entry of advertisements selects pool %s, so BGP does not announce its addresses; add it to the pools of one%s", p.Name, orLayer2(p))
		}
	}
	if len(silent) > 0 {
		s := d.root
		s.path = "peers"
		s.warn("there are none, so nobody announces the addresses of %s, whose announce is [bgp]; add the routers, or write announce: [l2]", few(silent))
	}
	for i, p := range d.Peers {
		if !slices.ContainsFunc(d.advertised(), func(a Advertisement) bool { return a.goesTo(p) }) {
			d.peers[i][0].warn("no entry of advertisements is for peer %s, so nothing is announced to it; add it to the peers of one", p.Name)
		}
	}
}

func orLayer2(p Pool) string {
	if p.L2 {
		return ", or write announce: [l2]"
	}
	return ""
}

// warnOfAttributes: those that none of the peers can get.
func (d draft) warnOfAttributes() {
	for _, a := range d.advertisements {
		var internal, external bool
		var names []string
		for _, p := range d.Peers {
			if !a.goesTo(p) {
				continue
			}
			names = append(names, p.Name)
			for _, v := range variantsOf(&p) {
				in, ex := d.kinds(*v)
				internal, external = internal || in, external || ex
			}
		}
		if len(names) == 0 {
			continue
		}
		if a.LocalPref != nil && !internal {
			a.localPref.warn("has no effect: it goes to peers of our own AS number alone, and %s are external; leave it out, or write med or prepend", few(names))
		}
		if a.Prepend > 0 && !external {
			a.prepend.warn("has no effect: it goes to peers of other AS numbers alone, and %s are internal; leave it out, or write localPref", few(names))
		}
	}
}

// kinds tells whether some session with the peer may be internal, or external.
func (c *Config) kinds(p Peer) (internal, external bool) {
	if p.External {
		return false, true
	}
	own := []uint32{p.LocalASN}
	if p.LocalASN == 0 {
		own = []uint32{c.BGP.ASN}
		for _, o := range c.BGP.Overrides {
			if o.ASN != 0 {
				own = append(own, o.ASN)
			}
		}
	}
	if !p.ASNFrom.IsZero() {
		return true, true
	}
	return slices.Contains(own, p.ASN), slices.ContainsFunc(own, func(asn uint32) bool { return asn != p.ASN })
}

// warnOfOffers: communities that keep weights from routers that know no link
// bandwidth.
func (d draft) warnOfOffers() {
	for _, a := range d.advertisements {
		for _, s := range a.communities {
			c, _, _, _ := parseCommunity(s.node.Value)
			var names []string
			var means CommunityWeights
			for _, o := range d.offers {
				if o.Tells(c) && a.goesTo(Peer{Name: o.peer}) && !slices.Contains(names, o.peer) {
					names, means = append(names, o.peer), o.CommunityWeights
				}
			}
			if len(names) > 0 {
				s.warn("%q: a community of weights, by default; so %s gets weights by link bandwidth alone, and a router that knows none, such as BIRD, spreads equally; write another one here, or the peer's community, such as %d:20000", s.node.Value, few(names), means.ASN)
			}
		}
	}
}

// warnOfPaths: settings of addPath that flatten weights.
func (d draft) warnOfPaths() {
	for i, p := range d.Peers {
		for j, v := range variantsOf(&p) {
			at := d.peers[i][j]
			if v.Weights != EncodeAddPath || j > 0 && !at.own["addPath"] {
				continue
			}
			at.warnOfWidth(v.AddPath)
			d.warnOfFamilies(at, *v)
		}
	}
}

func (d *peerDraft) warnOfWidth(a AddPathReplication) {
	n := map[cluster.Family]int{}
	for _, p := range a.Prefixes {
		n[cluster.FamilyOf(p.Addr())]++
	}
	aliases := max(n[cluster.IPv4], n[cluster.IPv6])
	if a.Width <= aliases {
		s := d.at["addPath"]
		s.path = join(s.path, "width")
		s.warn("%d: a node alone may have %d next hops, its own address and %d aliases, so weights become small or equal; write %d for each node that has pods of one Service, if the router installs so many", a.Width, aliases+1, aliases, aliases+1)
	}
}

// warnOfFamilies: a family whose nodes have no aliases.
func (d draft) warnOfFamilies(at *peerDraft, p Peer) {
	for _, f := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		if slices.ContainsFunc(p.AddPath.Prefixes, func(x netip.Prefix) bool { return cluster.FamilyOf(x.Addr()) == f }) {
			continue
		}
		var names []string
		for _, pool := range d.Pools {
			if pool.Weights && pool.Size(f) > 0 && !d.nodesOf(at, p, pool).none() {
				names = append(names, pool.Name)
			}
		}
		if len(names) > 0 {
			s := at.at["addPath"]
			s.path = join(s.path, "prefixes")
			s.warn("none is of %s, so each node has one next hop for the %s addresses of %s, whatever its weight; add prefixes of %s", f, f, few(names), f)
		}
	}
}

// advertised are the advertisements; without any, the one that means all.
func (d draft) advertised() []Advertisement {
	if len(d.Advertisements) == 0 {
		return []Advertisement{{}}
	}
	return d.Advertisements
}

func (a Advertisement) has(p Pool) bool { return len(a.Pools) == 0 || slices.Contains(a.Pools, p.Name) }

func (a Advertisement) goesTo(p Peer) bool {
	return len(a.Peers) == 0 || slices.Contains(a.Peers, p.Name)
}

// few keeps a list short enough for one line.
func few(names []string) string {
	const most = 4
	if n := len(names); n > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n-most)
	}
	return strings.Join(names, ", ")
}
