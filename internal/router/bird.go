package router

import (
	"fmt"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

var bird = language{name: "BIRD", comment: "#", write: writeBIRD, warn: warnBIRD, hints: hintsBIRD}

func warnBIRD(s side) (list []string) {
	if s.Weights&(config.EncodeCommunity|config.EncodeAddPath|config.EncodeNone) == 0 {
		list = append(list, fmt.Sprintf("BIRD takes weights from a community, and peer %s gets %s alone, so all nodes get the same share: write weights: [linkBandwidth, community] and a community, such as 64512:10000.", s.Name, s.Weights))
	}
	return list
}

func hintsBIRD(s side) (list []string) {
	list = append(list, hashing)
	if s.PasswordKey != "" {
		list = append(list, fmt.Sprintf("PASSWORD is what the key %s of the Secret herald-bgp has.", s.PasswordKey))
	}
	if strings.Contains(s.sessionBIRD(), "multihop") {
		list = append(list, "BIRD looks for the nodes in its own tables, since they may be far away: it needs routes to them, from an IGP, or protocol direct { ipv4; ipv6; } for its links.")
	}
	return list
}

func writeBIRD(b *strings.Builder, s side) {
	b.WriteString(s.filter("from_herald"))
	for _, f := range s.families() {
		fmt.Fprintf(b, "protocol kernel { merge paths on limit %d; %s { import none; export where source = RTS_BGP; }; }\n", min(s.width(), 255), strings.ToLower(string(f)))
	}
	if s.bfd != nil {
		b.WriteString("protocol bfd {}\n")
	}
	if len(s.nodes) > 0 {
		fmt.Fprintf(b, "template bgp herald {\n%s}\n", s.sessionBIRD())
	}
	for i, n := range s.nodes {
		fmt.Fprintf(b, "protocol bgp herald_%d from herald { neighbor %s%s %s; }\n", i+1, n, s.portBIRD(), s.remoteBIRD())
	}
	for i, r := range s.ranges {
		name := "herald"
		if len(s.ranges) > 1 || len(s.nodes) > 0 {
			name = fmt.Sprintf("herald_range_%d", i+1)
		}
		fmt.Fprintf(b, "protocol bgp %s {\n%s  neighbor range %s %s;\n}\n", name, s.sessionBIRD(), r, s.remoteBIRD())
	}
}

func (s side) portBIRD() string {
	if s.listen == 0 || s.listen == 179 {
		return ""
	}
	return fmt.Sprintf(" port %d", s.listen)
}

func (s side) remoteBIRD() string {
	if len(s.nodeASNs) > 1 {
		return "external"
	}
	return fmt.Sprintf("as %d", s.nodeASNs[0])
}

// sessionBIRD is what all sessions have in common.
func (s side) sessionBIRD() string {
	local := "local"
	if s.Port != 179 {
		local += fmt.Sprintf(" port %d", s.Port)
	}
	lines := []string{fmt.Sprintf("%s as %d;", local, s.asn)}
	if s.Passive {
		lines = append(lines, "connect retry time 2;")
	} else {
		lines = append(lines, "passive on;")
	}
	switch {
	case s.internal:
		// Else it would look for a route to the next hop beside the link's own.
		lines = append(lines, "direct;")
	case s.EBGPMultihop > 1:
		lines = append(lines, fmt.Sprintf("multihop %d;", s.EBGPMultihop))
	case s.TTLSecurity > 1:
		lines = append(lines, fmt.Sprintf("multihop %d;", s.TTLSecurity))
	}
	if s.TTLSecurity > 0 {
		lines = append(lines, "ttl security on;")
	}
	if s.PasswordKey != "" {
		lines = append(lines, `password "PASSWORD";`)
	}
	if s.bfd != nil {
		lines = append(lines, fmt.Sprintf("bfd { min rx interval %d ms; min tx interval %d ms; multiplier %d; };",
			s.bfd.ReceiveInterval.Milliseconds(), s.bfd.TransmitInterval.Milliseconds(), s.bfd.DetectMultiplier))
	}
	for _, f := range s.families() {
		lines = append(lines, fmt.Sprintf("%s { add paths rx; import filter from_herald; export none; };", strings.ToLower(string(f))))
	}
	return "  " + strings.Join(lines, "\n  ") + "\n"
}

// filter lets Herald's addresses in, with their weights.
func (s side) filter(name string) string {
	var guard strings.Builder
	for _, f := range s.families() {
		var sets []string
		for _, a := range of(s.allowed, f) {
			sets = append(sets, fmt.Sprintf("%s{%d,%d}", a.Prefix, max(a.least, a.Bits()), a.Addr().BitLen()))
		}
		fmt.Fprintf(&guard, "  if net.type = %s && net !~ [ %s ] then reject;\n", map[cluster.Family]string{cluster.IPv4: "NET_IP4", cluster.IPv6: "NET_IP6"}[f], strings.Join(sets, ", "))
	}
	head, rest, _ := strings.Cut(BIRDFilter(name, s.weights...), "\n")
	return head + "\n" + guard.String() + rest
}

// BIRDFilter is an import filter for BIRD that turns the communities of weights
// into BIRD's own weights, and obeys a node that drains. An announcement without
// such a community keeps the weight 1.
func BIRDFilter(name string, weights ...config.CommunityWeights) string {
	var b strings.Builder
	fmt.Fprintf(&b, "filter %s {\n", name)
	for _, w := range weights {
		first, last := w.Base+1, w.Base+config.MaxCommunityWeight
		fmt.Fprintf(&b, "  # %d:%d to %d:%d mean the weights 1 to %d.\n", w.ASN, first, w.ASN, last, config.MaxCommunityWeight)
		fmt.Fprintf(&b, "  for pair c in bgp_community do\n    if c.asn = %d && c.data >= %d && c.data <= %d then weight = c.data - %d;\n", w.ASN, first, last, w.Base)
	}
	b.WriteString("  # A node that drains (RFC 8326).\n  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;\n  accept;\n}\n")
	return b.String()
}
