package config

import (
	"net/netip"
	"time"
)

// maxDamping bounds the damping: a weight that is a day late is no weight.
const maxDamping = 24 * time.Hour

func defaultBGP() BGP {
	return BGP{ListenPort: 179, Weights: Weights{
		Interval:      5 * time.Minute,
		MinChange:     25,
		DecreaseDelay: 2 * time.Minute,
		SettleTime:    30 * time.Second,
	}}
}

// readBGP also says where the AS number is, if anywhere.
func readBGP(s spot, b *BGP) (asn spot) {
	s.object(fields{
		"asn":        func(s spot) { asn = s; b.ASN = s.asn() },
		"weights":    func(s spot) { readWeights(s, &b.Weights) },
		"listenPort": func(s spot) { b.ListenPort = s.port() },
		"overrides":  func(s spot) { b.Overrides = s.bgpOverrides() },
	})
	return asn
}

func (s spot) bgpOverrides() (overrides []BGPOverride) {
	var selectors selectorsSeen
	s.items(func(s spot) {
		var o BGPOverride
		changes := 0
		s.object(fields{
			"nodeSelector": func(s spot) { o.NodeSelector = s.overrideSelector(&selectors) },
			"asn":          func(s spot) { changes++; o.ASN = s.asn() },
			"routerID":     func(s spot) { changes++; o.RouterID = s.routerID() },
		}, "nodeSelector")
		if changes == 0 && len(s.node.Content) > 0 {
			s.fault("changes nothing; add asn or routerID")
		}
		overrides = append(overrides, o)
	})
	return overrides
}

// routerID reads a BGP Identifier. RFC 6286: any number but 0, and it looks like
// an IPv4 address.
func (s spot) routerID() netip.Addr {
	text, ok := s.text()
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() || a.IsUnspecified() {
		s.fault("%q: write it like an IPv4 address, such as 10.255.0.1 (RFC 6286)", text)
		return netip.Addr{}
	}
	return a
}

func readWeights(s spot, w *Weights) {
	s.object(fields{
		"interval":      func(s spot) { w.Interval = s.damping() },
		"minChange":     func(s spot) { w.MinChange = s.percent() },
		"decreaseDelay": func(s spot) { w.DecreaseDelay = s.damping() },
		"settleTime":    func(s spot) { w.SettleTime = s.damping() },
	})
}

func (s spot) damping() time.Duration {
	d, _ := s.duration(0, maxDamping, 1)
	return d
}

func (s spot) percent() int {
	n, _ := s.integer(0, 1000)
	return int(n)
}
