package bgp

import (
	"strings"

	"github.com/heraldlb/herald/internal/config"
)

// families are some of the two families.
type families struct{ ipv4, ipv6 bool }

func (f *families) add(ipv4, ipv6 bool) { f.ipv4, f.ipv6 = f.ipv4 || ipv4, f.ipv6 || ipv6 }

// all tells whether these are at least those that are wanted. Nothing is not enough.
func (f families) all(want families) bool {
	return f != families{} && (f.ipv4 || !want.ipv4) && (f.ipv6 || !want.ipv6)
}

func familiesOf(routes map[pathName]attributes) (f families) {
	for r := range routes {
		f.add(r.prefix.Addr().Is4(), r.prefix.Addr().Is6())
	}
	return f
}

// routes notes what a session's peer gets, and why not more.
func (st *status) routes(name string, routes map[pathName]attributes, missing string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if p := st.peers[name]; p != nil {
		p.Routes, p.PodCIDRs, p.has, p.missing = prefixes(routes), podCIDRs(routes), familiesOf(routes), missing
		p.AddPath = p.paths.all(p.has)
		st.withhold(p)
	}
}

// withhold says anew why routes are missing at a peer. gobgp leaves out without a
// word what the peer does not take.
func (st *status) withhold(p *entry) {
	why := p.missing
	if p.State == Established {
		why = strings.Join(nonempty(p.missing, p.refusal()), "; ")
	}
	if why != "" && why != p.Withheld {
		st.log.Warn("bgp routes withheld", "peer", p.Name, "address", p.Address, "reason", why)
	}
	p.Withheld = why
}

// refusal is which of its routes a peer does not take.
func (p *entry) refusal() string {
	switch {
	case p.has.ipv4 && !p.does.ipv4 && p.has.ipv6 && !p.does.ipv6:
		return "the peer takes neither IPv4 nor IPv6 routes: activate the address families ipv4 unicast and ipv6 unicast for this neighbor on the router"
	case p.has.ipv4 && !p.does.ipv4:
		return "the peer does not take IPv4 routes: activate the address family ipv4 unicast for this neighbor on the router"
	case p.has.ipv6 && !p.does.ipv6:
		return "the peer does not take IPv6 routes: activate the address family ipv6 unicast for this neighbor on the router"
	case p.session.Weights == config.EncodeAddPath && p.paths == families{}:
		return "the peer does not take ADD-PATH: it gets one path of each prefix, whatever its weight"
	case p.session.Weights == config.EncodeAddPath && p.has.ipv4 && !p.paths.ipv4:
		return "the peer does not take ADD-PATH of IPv4 routes: it gets one path of each IPv4 prefix, whatever its weight"
	case p.session.Weights == config.EncodeAddPath && p.has.ipv6 && !p.paths.ipv6:
		return "the peer does not take ADD-PATH of IPv6 routes: it gets one path of each IPv6 prefix, whatever its weight"
	default:
		return ""
	}
}

func nonempty(list ...string) (some []string) {
	for _, s := range list {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}
