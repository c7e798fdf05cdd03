package plan

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// lookup finds what the configuration leaves to each node. Its problems are for
// a person: what is wrong, and what to do about it.
type lookup struct {
	config *config.Config
	node   cluster.Node
	gw     gateways
}

func (l lookup) address(s *Session, p config.Peer) string {
	s.Address = p.Address
	if !p.AddressFrom.IsZero() {
		a, problem := l.addr(p.AddressFrom)
		if problem != "" {
			return "addressFrom: " + problem
		}
		s.Address = a
	}
	if zone := s.Address.Zone(); zone != "" && s.Interface == "" {
		s.Interface = zone
	}
	s.Address = s.Address.WithZone("")
	if s.Address.IsLinkLocalUnicast() && s.Address.Is6() && s.Interface == "" {
		return fmt.Sprintf("%s is link-local, so it says nothing without a link; set interface", s.Address)
	}
	// The parser sees to this for addresses that it can read.
	if pool := l.config.PoolOf(s.Address); pool != nil && !p.AddressFrom.IsZero() {
		return fmt.Sprintf("addressFrom: %s is in pool %s, and could be handed out; take it out of the pool", s.Address, pool.Name)
	}
	return ""
}

func (l lookup) source(s *Session, p config.Peer) string {
	s.Source = p.SourceAddress
	if p.SourceAddressFrom.IsZero() {
		return ""
	}
	a, problem := l.addr(p.SourceAddressFrom)
	if problem != "" {
		return "sourceAddressFrom: " + problem
	}
	s.Source = a.WithZone("")
	if s.Address.IsValid() && s.Address.Is4() != a.Is4() {
		return fmt.Sprintf("sourceAddressFrom: %s is not of the family of the peer's address, %s; both must be IPv4, or both IPv6", a, s.Address)
	}
	return ""
}

func (l lookup) asn(s *Session, p config.Peer) string {
	s.ASN = p.ASN
	if p.ASNFrom.IsZero() {
		return ""
	}
	what, text, ok := l.text(p.ASNFrom)
	if !ok {
		return fmt.Sprintf("asnFrom: the node has no %s; set it to the number of the peer's AS, or give the peer an asn", what)
	}
	n, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err != nil:
		return fmt.Sprintf("asnFrom: the node's %s is %q: not the number of an AS such as 64512; correct it", what, text)
	case n == 0 || n == 23456 || n == 65535 || n == 1<<32-1: // RFC 7607, RFC 6793, RFC 7300
		return fmt.Sprintf("asnFrom: the node's %s is %d, which is reserved; correct it", what, n)
	}
	s.ASN = uint32(n)
	return ""
}

// addr is an address of the node's.
func (l lookup) addr(f config.From) (netip.Addr, string) {
	if f.DefaultGateway != "" {
		if a, ok := l.gw(f.DefaultGateway); ok {
			return a.Unmap(), ""
		}
		return netip.Addr{}, fmt.Sprintf("the node has no default route for %s; give it one, or write the address down", f.DefaultGateway)
	}
	what, text, ok := l.text(f)
	if !ok {
		return netip.Addr{}, fmt.Sprintf("the node has no %s; set it to an IP address, or write the address down", what)
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, fmt.Sprintf("the node's %s is %q: not an IP address such as 10.0.0.1; correct it", what, text)
	}
	return a.Unmap(), ""
}

// text is the value of an annotation or a label, and what to call it.
func (l lookup) text(f config.From) (what, value string, ok bool) {
	if f.NodeAnnotation != "" {
		value, ok = l.node.Annotations[f.NodeAnnotation]
		return "annotation " + f.NodeAnnotation, value, ok
	}
	value, ok = l.node.Labels[f.NodeLabel]
	return "label " + f.NodeLabel, value, ok
}
