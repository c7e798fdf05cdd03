package bgp

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// TestAttributesReachTheRouter has a prefix for each row, and both kinds of
// session.
func TestAttributesReachTheRouter(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	rows := []struct {
		name       string
		more       *config.Attributes
		draining   bool
		ebgp, ibgp []string // what FRR shows
	}{
		{
			"nothing asked for", nil, false,
			[]string{"\n  64513\n", "valid, external", "LB:64513:3"},
			[]string{"\n  Local\n", "localpref 100, valid, internal", "LB:64512:3"},
		}, {
			"communities", &config.Attributes{Communities: []uint32{64512<<16 | 100, 0xffffff01}}, false,
			[]string{"Community: 64512:100 no-export\n"},
			[]string{"Community: 64512:100 no-export\n"},
		}, {
			"large communities", &config.Attributes{LargeCommunities: []config.LargeCommunity{{GlobalAdmin: 64512, LocalData1: 1, LocalData2: 2}}}, false,
			[]string{"Large Community: 64512:1:2\n"},
			[]string{"Large Community: 64512:1:2\n"},
		}, {
			"local preference, iBGP only", &config.Attributes{LocalPref: number(200)}, false,
			[]string{"IGP, valid, external"},
			[]string{"localpref 200, valid, internal"},
		}, {
			"MED", &config.Attributes{MED: number(10)}, false,
			[]string{"metric 10, valid, external"},
			[]string{"metric 10, localpref 100, valid, internal"},
		}, {
			"prepend, eBGP only", &config.Attributes{Prepend: 2}, false,
			[]string{"\n  64513 64513 64513\n"},
			[]string{"\n  Local\n"},
		}, {
			"draining", &config.Attributes{Communities: []uint32{64512<<16 | 100}, LocalPref: number(200)}, true,
			[]string{"Community: 64512:100 graceful-shutdown\n", "localpref 0, valid, external", "LB:64513:3"},
			[]string{"Community: 64512:100 graceful-shutdown\n", "localpref 0, valid, internal"},
		},
	}
	for asn, want := range map[uint32]func(row int) []string{
		64513: func(row int) []string { return rows[row].ebgp },
		64512: func(row int) []string { return rows[row].ibgp },
	} {
		t.Run(fmt.Sprintf("from AS %d to AS 64512", asn), func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 1)
			frr := r.router.FRR(bgpd(asn, "10.8.0.11"))
			n := startAnnouncer(t, r.nodes[0])
			s := tor("tor", "10.8.0.1", 64512, config.NonTransitive)
			tab := table(1, asn, []plan.Session{s})
			for i, row := range rows {
				prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32)
				tab.Routes = append(tab.Routes, plan.Route{Peer: "tor", Prefix: prefix, Weight: 3, Draining: row.draining, Attributes: row.more})
			}
			n.apply(tab)
			for i, row := range rows {
				for _, text := range want(i) {
					t.Log(row.name)
					shows(t, frr, fmt.Sprintf("show bgp ipv4 unicast 198.51.100.%d/32", i), text)
				}
			}
			// A drain is a change in place, and so is its end.
			tab.Routes[0].Draining = true
			n.apply(tab)
			shows(t, frr, "show bgp ipv4 unicast 198.51.100.0/32", "localpref 0")
			tab.Routes[0].Draining = false
			n.apply(tab)
			shows(t, frr, "show bgp ipv4 unicast 198.51.100.0/32", want(0)[1])
		})
	}
}
