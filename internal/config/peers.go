package config

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"
)

// The limits of the timers: the Hold Time of RFC 4271 is 16 bits of seconds,
// the Restart Time of RFC 4724 is 12.
const (
	maxTimer       = math.MaxUint16 * time.Second
	maxRestartTime = 4095 * time.Second
	minHoldTime    = 3 * time.Second
)

// peerReader reads the peers and remembers what can only be judged when the
// whole document has been read.
type peerReader struct {
	names    map[string]string
	blocks   []blockAt // must not overlap pools
	claims   []claim
	profiles []spot // where a BFD profile is named
	weights  []weightsAt
	offers   []weightsAt    // by default; refused, as an advertisement gives the community another meaning
	drafts   [][]*peerDraft // of each peer: itself and its overrides

	numberless []*peerDraft // that want a community and do not say which
}

// peerDraft is a peer, or one of its overrides, while it is read.
type peerDraft struct {
	Peer
	spot
	at  map[string]spot // where each key was written; in an override also those that it inherits
	own map[string]bool // the keys that were written here

	nodes nodeset // that the peer is so on
}

func defaultPeer() Peer {
	return Peer{
		Port:             179,
		HoldTime:         90 * time.Second,
		ConnectRetryTime: 2 * time.Second,
		RestartTime:      30 * time.Second,
		LinkBandwidth:    Both,
	}
}

func (r *peerReader) read(s spot) (peers []Peer) {
	r.names = map[string]string{}
	s.items(func(s spot) { peers = append(peers, r.peer(s)) })
	return peers
}

func (r *peerReader) peer(s spot) Peer {
	d := &peerDraft{Peer: defaultPeer(), spot: s, at: map[string]spot{}, own: map[string]bool{}}
	known := d.settings()
	known["name"] = func(s spot) { d.Name = s.name(); s.unique(r.names, d.Name) }
	known["nodeSelector"] = func(s spot) { d.NodeSelector = s.selector() }
	var overrides spot
	known["overrides"] = func(s spot) { overrides = s } // read last: they start from the peer
	s.object(known, "name")
	d.requireWho()
	r.finish(d)

	variants := []*peerDraft{d}
	if overrides.present() {
		selectors := selectorsSeen{}
		overrides.items(func(s spot) { variants = append(variants, r.override(s, d, &selectors)) })
	}
	for _, o := range variants[1:] {
		d.Overrides = append(d.Overrides, o.Peer)
	}
	r.claim(variants)
	settleNodes(variants)
	r.drafts = append(r.drafts, variants)
	return d.Peer
}

// settleNodes says which nodes a peer and its overrides are for: of several
// overrides the first that selects a node counts.
func settleNodes(variants []*peerDraft) {
	base := nodeset{in: []Selector{variants[0].NodeSelector}}
	for _, o := range variants[1:] {
		o.nodes = base.and(o.NodeSelector)
		base.out = append(slices.Clone(base.out), o.NodeSelector)
	}
	variants[0].nodes = base
}

// override reads what differs from the peer on some nodes.
func (r *peerReader) override(s spot, base *peerDraft, seen *selectorsSeen) *peerDraft {
	d := &peerDraft{Peer: base.Peer, spot: s, at: maps.Clone(base.at), own: map[string]bool{}}
	known := d.settings()
	known["nodeSelector"] = func(s spot) { d.NodeSelector = s.overrideSelector(seen) }
	s.object(known, "nodeSelector")
	if len(d.own) == 0 && len(s.node.Content) > 0 {
		s.fault("changes nothing; add what differs on these nodes")
	}
	d.replaceAlternatives()
	r.finish(d)
	return d
}

// settings are the readers of what an override may change.
func (d *peerDraft) settings() fields {
	known := fields{
		"address":           func(s spot) { d.Address = s.peerAddress() },
		"addressFrom":       func(s spot) { d.AddressFrom = s.from(true) },
		"addressRange":      func(s spot) { d.AddressRange = s.peerRange() },
		"interface":         func(s spot) { d.Interface = s.interfaceName() },
		"asn":               func(s spot) { d.ASN, d.External = s.peerASN() },
		"asnFrom":           func(s spot) { d.ASNFrom = s.from(false) },
		"localASN":          func(s spot) { d.LocalASN = s.asn() },
		"port":              func(s spot) { d.Port = s.port() },
		"passive":           func(s spot) { s.boolean(&d.Passive) },
		"sourceAddress":     func(s spot) { d.SourceAddress = s.sourceAddress() },
		"sourceAddressFrom": func(s spot) { d.SourceAddressFrom = s.from(false) },
		"ebgpMultihop":      func(s spot) { d.EBGPMultihop = s.small(1, 255) },
		"ttlSecurity":       func(s spot) { d.TTLSecurity = s.small(1, 254) },
		"passwordKey":       func(s spot) { d.PasswordKey = s.secretKey() },
		"holdTime":          func(s spot) { d.HoldTime = s.holdTime() },
		"keepaliveTime":     func(s spot) { d.KeepaliveTime = s.seconds() },
		"connectRetryTime":  func(s spot) { d.ConnectRetryTime = s.seconds() },
		"restartTime":       func(s spot) { d.RestartTime, _ = s.duration(0, maxRestartTime, time.Second) },
		"bfdProfile":        func(s spot) { d.BFDProfile = s.name() },
		"weights":           func(s spot) { d.Weights = s.encodings() },
		"linkBandwidth":     func(s spot) { d.LinkBandwidth = s.linkBandwidth() },
		"community":         func(s spot) { d.Community = s.communityWeights() },
		"addPath":           func(s spot) { d.AddPath = s.addPath() },
	}
	for key, read := range known {
		known[key] = func(s spot) { d.at[key], d.own[key] = s, true; read(s) }
	}
	return known
}

// finish judges what takes more than one key, and fills in what depends on
// other keys.
func (r *peerReader) finish(d *peerDraft) {
	d.refuseTwoAlternatives()
	d.checkWho()
	d.settlePassive()
	d.settleKeepalive()
	d.settleEncoding()
	r.remember(d)
}

// remember notes what is judged together with the rest of the document.
func (r *peerReader) remember(d *peerDraft) {
	if s := d.at["bfdProfile"]; d.own["bfdProfile"] && d.BFDProfile != "" {
		r.profiles = append(r.profiles, s)
	}
	if d.own["weights"] && d.Weights.Has(EncodeCommunity) && !d.at["community"].present() {
		r.numberless = append(r.numberless, d)
	}
	note := func(key string, a netip.Addr) {
		if d.own[key] && a.IsValid() {
			r.blocks = append(r.blocks, blockAt{Range{a, a}, d.at[key]})
		}
	}
	note("address", d.Address)
	note("sourceAddress", d.SourceAddress)
	if d.own["addressRange"] && d.AddressRange.IsValid() {
		r.blocks = append(r.blocks, blockAt{prefixRange(d.AddressRange), d.at["addressRange"]})
	}
	if d.own["addPath"] {
		r.blocks = append(r.blocks, d.at["addPath"].blocks(d.AddPath.Prefixes)...)
	}
}

// settlePassive: a peer that is waited for is not dialled, so it has no port.
func (d *peerDraft) settlePassive() {
	switch {
	case d.at["addressRange"].present():
		if d.own["passive"] && !d.Passive {
			d.at["passive"].fault("whoever connects from an addressRange is waited for; leave passive out")
		}
		d.Passive = true
	case !d.at["passive"].present():
		d.Passive = false // not even if the peer that this overrides has a range
	}
	if !d.Passive {
		return
	}
	if d.own["port"] {
		d.at["port"].fault("a passive peer is not dialled; leave port out: it connects to bgp.listenPort")
	}
	d.Port = 179
}

func (d *peerDraft) settleKeepalive() {
	keepalive := d.at["keepaliveTime"]
	if !keepalive.present() {
		// RFC 4271 section 10 suggests a third.
		d.KeepaliveTime = third(d.HoldTime)
		return
	}
	if d.HoldTime == 0 || d.KeepaliveTime < d.HoldTime || !d.own["keepaliveTime"] && !d.own["holdTime"] {
		return
	}
	if d.own["keepaliveTime"] {
		keepalive.fault("%q: not less than the holdTime, %s; write %s", keepalive.node.Value, short(d.HoldTime), short(third(d.HoldTime)))
		return
	}
	d.at["holdTime"].fault("%q: not more than the peer's keepaliveTime, %s; write keepaliveTime: %s here as well", d.at["holdTime"].node.Value, short(d.KeepaliveTime), short(third(d.HoldTime)))
}

func third(hold time.Duration) time.Duration { return (hold / 3).Truncate(time.Second) }
