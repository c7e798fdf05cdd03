package dataplane

import (
	"fmt"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
)

func TestGateways(t *testing.T) {
	lab := netlab.New(t)
	n := lab.Node("n")
	lab.Switch("lan").Attach(n, "eth0", "192.0.2.7/24", "2001:db8::7/64")
	w := NewGatewayWatcher(nil)
	runIn(t, n, w.Run)
	for _, step := range []struct{ what, do, v4, v6 string }{
		{"no default route", "", "invalid IP", "invalid IP"},
		{"one of IPv4", "ip route add default via 192.0.2.9 metric 50", "192.0.2.9", "invalid IP"},
		{"a better one", "ip route add default via 192.0.2.3 metric 10", "192.0.2.3", "invalid IP"},
		{"a route that is not the default", "ip route add 198.51.100.0/24 via 192.0.2.1", "192.0.2.3", "invalid IP"},
		{"a link-local one of IPv6", "ip -6 route add default via fe80::1 dev eth0", "192.0.2.3", "fe80::1%eth0"},
		{"the better one is gone", "ip route del default metric 10", "192.0.2.9", "fe80::1%eth0"},
		{"two next hops", "ip route replace default metric 50 nexthop via 192.0.2.5 nexthop via 192.0.2.4", "192.0.2.4", "fe80::1%eth0"},
		{"none of IPv6 again", "ip -6 route del default via fe80::1 dev eth0", "192.0.2.4", "invalid IP"},
	} {
		if step.do != "" {
			n.Run("sh", "-c", step.do)
		}
		netlab.Eventually(t, 10*time.Second, func() string {
			g, ok := w.Gateways()
			if ok && g.IPv4.String() == step.v4 && g.IPv6.String() == step.v6 {
				return ""
			}
			return fmt.Sprintf("%s: %+v, want %s and %s", step.what, g, step.v4, step.v6)
		})
	}
}
