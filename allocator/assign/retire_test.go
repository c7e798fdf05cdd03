package assign

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// An address that cannot be kept, since a peer has it now, takes none of the others
// with it.
func TestOneAddressThatCannotBeKept(t *testing.T) {
	parse := func(text string) *config.Config {
		t.Helper()
		c, err := config.Parse([]byte("apiVersion: heraldlb.io/v1\nbgp: {asn: 64513}\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := parse("pools: [{name: public, ranges: [192.0.2.0/28]}]\n")
	after := parse("pools: [{name: public, ranges: [198.51.100.0/28]}]\npeers: [{name: tor, address: 192.0.2.3, asn: 64512}]\n")
	var services []cluster.Service
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		services = append(services, cluster.Service{
			Namespace: "default", Name: name, LoadBalancer: true,
			Ingress: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)})},
		})
	}
	c, kept := Retire(after, before, services)
	var got []string
	for _, k := range kept {
		got = append(got, k.Service)
	}
	if all := strings.Join(got, " "); all != "default/a default/b default/d default/e" {
		t.Errorf("kept are %s", all)
	}
	for i, s := range services {
		if has := c.PoolOf(s.Ingress[0]) != nil; has != (i != 2) {
			t.Errorf("%s has a pool: %v", s.Ingress[0], has)
		}
	}
}
