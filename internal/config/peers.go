package config

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The limits of the timers: the Hold Time of RFC 4271 is 16 bits of seconds.
const (
	maxTimer    = math.MaxUint16 * time.Second
	minHoldTime = 3 * time.Second
)

// peerReader reads the peers and remembers what must be unique among them.
type peerReader struct {
	names, addresses map[string]string
	at               []peerAt
}

// peerAt is a peer's address and the place where it was written.
type peerAt struct {
	addr netip.Addr
	spot
}

func (r *peerReader) read(s spot) (peers []Peer) {
	r.names, r.addresses = map[string]string{}, map[string]string{}
	s.items(func(s spot) { peers = append(peers, r.peer(s)) })
	return peers
}

func (r *peerReader) peer(s spot) Peer {
	p := Peer{Port: 179, HoldTime: 90 * time.Second, ConnectRetryTime: 5 * time.Second, Weights: EncodeLinkBandwidth, LinkBandwidth: NonTransitive}
	var address, keepalive spot
	holdOK := true
	s.object(fields{
		"name":             func(s spot) { p.Name = s.name(); s.unique(r.names, p.Name) },
		"address":          func(s spot) { address = s; p.Address = s.peerAddress() },
		"asn":              func(s spot) { p.ASN = s.asn() },
		"port":             func(s spot) { p.Port = s.port() },
		"holdTime":         func(s spot) { p.HoldTime, holdOK = s.holdTime() },
		"keepaliveTime":    func(s spot) { keepalive = s; p.KeepaliveTime = s.seconds() },
		"connectRetryTime": func(s spot) { p.ConnectRetryTime = s.seconds() },
		"linkBandwidth":    func(s spot) { p.LinkBandwidth = s.linkBandwidth() },
	}, "name", "address", "asn")

	r.at = append(r.at, peerAt{p.Address, address})
	if p.Address.IsValid() {
		address.unique(r.addresses, p.Address.String())
	}
	if !keepalive.present() {
		// RFC 4271 section 10 suggests a third.
		p.KeepaliveTime = third(p.HoldTime)
	} else if holdOK {
		keepalive.refuseKeepalive(p)
	}
	return p
}

// refuseKeepalive complains of a keepalive time that does not go with the hold
// time.
func (s spot) refuseKeepalive(p Peer) {
	if p.KeepaliveTime >= p.HoldTime {
		s.fault("%q: not less than the holdTime, %s; write %s", s.node.Value, short(p.HoldTime), short(third(p.HoldTime)))
	}
}

func third(hold time.Duration) time.Duration { return (hold / 3).Truncate(time.Second) }

func (s spot) peerAddress() netip.Addr {
	text, ok := s.text()
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	problem := ""
	switch {
	case err != nil:
		problem = "not an IP address such as 10.0.0.1 or 2001:db8::1"
	case a.Is4In6():
		problem = "IPv4 written as IPv6; write " + a.Unmap().String()
	case a.Zone() != "":
		problem = "has a zone; write an address of the peer that is not link-local"
	case reservedIn(Range{a, a}) != "":
		problem = "in " + reservedIn(Range{a, a}) + "; write an address of the peer"
	}
	if problem != "" {
		s.fault("%q: %s", text, problem)
		return netip.Addr{}
	}
	return a
}

// reservedASNs are the numbers that no AS can have.
var reservedASNs = map[int64]string{
	0:              "RFC 7607",
	23456:          "RFC 6793",
	65535:          "RFC 7300",
	math.MaxUint32: "RFC 7300",
}

// asn reads the number of an AS.
func (s spot) asn() uint32 {
	if n, ok := asDot(s.node.Value); ok {
		s.fault("%s: is in the dotted form of RFC 5396; write %d", s.node.Value, n)
		return 0
	}
	n, ok := s.integer(0, math.MaxUint32)
	if rfc := reservedASNs[n]; ok && rfc != "" {
		s.fault("%d: is reserved by %s; write a number that is yours, or a private one such as 64512", n, rfc)
		return 0
	}
	return uint32(n)
}

// asDot reads the form high.low, in which 1.10 means 65546.
func asDot(text string) (uint32, bool) {
	high, low, ok := strings.Cut(text, ".")
	h, err1 := strconv.ParseUint(high, 10, 16)
	l, err2 := strconv.ParseUint(low, 10, 16)
	return uint32(h<<16 | l), ok && err1 == nil && err2 == nil
}

func (s spot) port() uint16 {
	n, _ := s.integer(1, math.MaxUint16)
	return uint16(n)
}

func (s spot) holdTime() (time.Duration, bool) {
	d, ok := s.duration(0, maxTimer, time.Second)
	if ok && d < minHoldTime {
		s.fault("%q: write at least 3s (RFC 4271 section 4.2)", s.node.Value)
		return 0, false
	}
	return d, ok
}

func (s spot) seconds() time.Duration {
	d, _ := s.duration(time.Second, maxTimer, time.Second)
	return d
}

func (s spot) linkBandwidth() LinkBandwidthForm {
	form, _ := s.oneOf(string(NonTransitive), string(Transitive))
	return LinkBandwidthForm(form)
}

// refuseInside complains of a peer whose address could be handed out.
func (r *peerReader) refuseInside(ranges []rangeAt) {
	for _, p := range r.at {
		for _, x := range ranges {
			if x.Contains(p.addr) {
				p.fault("%q: is in %s, %q, and could be handed out; take it out of the pool", p.node.Value, x.path, x.node.Value)
			}
		}
	}
}
