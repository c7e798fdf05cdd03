// Package router writes the router's side of a configuration: what the peers of
// Herald must be told so that sessions come up and weights count. It is pure.
package router

import (
	"fmt"
	"strings"

	"github.com/heraldlb/herald/internal/config"
)

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
