package router

import (
	"fmt"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

var frr = language{name: "FRR", comment: "!", write: writeFRR, warn: warnFRR, hints: hintsFRR}

// maxPaths is the most that Debian's FRR was built for, and FRR's own packages.
const maxPaths = 256

func warnFRR(s side) (list []string) {
	if s.Weights&(config.EncodeLinkBandwidth|config.EncodeAddPath|config.EncodeNone) == 0 {
		list = append(list, fmt.Sprintf("FRR takes weights from the link bandwidth, and peer %s gets %s alone, so all nodes get the same share: add linkBandwidth to its weights, or leave them out.", s.Name, s.Weights))
	}
	if s.Weights.Has(config.EncodeLinkBandwidth) && s.LinkBandwidth == config.NonTransitive {
		list = append(list, "FRR 10.3 ignores the form nonTransitive; leave linkBandwidth out, and it gets both.")
	}
	if s.bfd != nil && s.bfd.Strict && len(s.ranges) > 0 {
		list = append(list, fmt.Sprintf("FRR begins with BFD when a node of a range connects, and Herald waits for BFD first, as the profile %s of peer %s is strict, so no session comes up: name each node with --nodes, or leave strict out.", s.bfd.Name, s.Name))
	}
	return list
}

func hintsFRR(s side) (list []string) {
	list = append(list, hashing)
	if s.Port != 179 {
		list = append(list, fmt.Sprintf("bgpd must listen on port %d: bgpd --bgp_port %d", s.Port, s.Port))
	}
	if s.bfd != nil {
		list = append(list, "The daemon bfdd must run.")
	}
	if s.PasswordKey != "" {
		list = append(list, fmt.Sprintf("PASSWORD is what the key %s of the Secret herald-bgp has.", s.PasswordKey))
	}
	return list
}

func writeFRR(b *strings.Builder, s side) {
	b.WriteString("!\n")
	writeFRRPolicy(b, s)
	if s.bfd != nil {
		fmt.Fprintf(b, "bfd\n profile herald\n  receive-interval %d\n  transmit-interval %d\n  detect-multiplier %d\n!\n",
			s.bfd.ReceiveInterval.Milliseconds(), s.bfd.TransmitInterval.Milliseconds(), s.bfd.DetectMultiplier)
	}
	fmt.Fprintf(b, "router bgp %d\n", s.asn)
	if len(s.nodeASNs) > 1 {
		b.WriteString(" bgp bestpath as-path multipath-relax\n")
	}
	for _, line := range s.neighborFRR() {
		fmt.Fprintf(b, " neighbor HERALD %s\n", line)
	}
	for _, n := range s.nodes {
		fmt.Fprintf(b, " neighbor %s peer-group HERALD\n", n)
		if s.Passive && s.listen != 179 {
			fmt.Fprintf(b, " neighbor %s port %d\n", n, s.listen) // FRR does not take it from a group
		}
	}
	if len(s.ranges) > 0 {
		b.WriteString(" bgp listen limit 1000\n") // else 100
	}
	for _, r := range s.ranges {
		fmt.Fprintf(b, " bgp listen range %s peer-group HERALD\n", r)
	}
	kind := ""
	if s.internal {
		kind = "ibgp "
	}
	for _, f := range s.families() {
		fmt.Fprintf(b, " address-family %s unicast\n  maximum-paths %s%d\n", strings.ToLower(string(f)), kind, min(s.width(), maxPaths))
		for _, line := range []string{"activate", "route-map HERALD-IN in", "route-map HERALD-OUT out"} {
			fmt.Fprintf(b, "  neighbor HERALD %s\n", line)
		}
		b.WriteString(" exit-address-family\n")
	}
	b.WriteString("!\n")
}

// writeFRRPolicy: Herald's addresses may come in, and nothing goes out, since no
// node takes a route.
func writeFRRPolicy(b *strings.Builder, s side) {
	words := map[cluster.Family]string{cluster.IPv4: "ip", cluster.IPv6: "ipv6"}
	for _, f := range s.families() {
		for _, a := range of(s.allowed, f) {
			length := ""
			switch all := a.Addr().BitLen(); {
			case a.Bits() == all:
			case a.least > a.Bits():
				length = fmt.Sprintf(" ge %d", a.least)
			default:
				length = fmt.Sprintf(" le %d", all)
			}
			fmt.Fprintf(b, "%s prefix-list HERALD permit %s%s\n", words[f], a.Prefix, length)
		}
	}
	b.WriteString("!\n")
	for i, f := range s.families() {
		fmt.Fprintf(b, "route-map HERALD-IN permit %d\n match %s address prefix-list HERALD\n!\n", 10*(i+1), words[f])
	}
	b.WriteString("route-map HERALD-OUT deny 10\n!\n")
}

// neighborFRR is what all nodes have in common.
func (s side) neighborFRR() []string {
	lines := []string{"peer-group"}
	switch {
	case len(s.nodeASNs) > 1:
		lines = append(lines, "remote-as external")
	default:
		lines = append(lines, fmt.Sprintf("remote-as %d", s.nodeASNs[0]))
	}
	if s.Passive {
		lines = append(lines, "timers connect 2")
	} else {
		lines = append(lines, "passive")
	}
	if s.EBGPMultihop > 1 && !s.internal {
		lines = append(lines, fmt.Sprintf("ebgp-multihop %d", s.EBGPMultihop))
	}
	if s.TTLSecurity > 0 {
		lines = append(lines, fmt.Sprintf("ttl-security hops %d", s.TTLSecurity))
	}
	if s.PasswordKey != "" {
		lines = append(lines, "password PASSWORD")
	}
	if s.bfd != nil {
		lines = append(lines, "bfd", "bfd profile herald")
	}
	return lines
}
