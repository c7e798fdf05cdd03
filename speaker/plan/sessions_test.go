package plan_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

var rack = func(name string) config.Selector {
	return config.Selector{MatchLabels: map[string]string{"rack": name}}
}

func peer(name string, change func(*config.Peer)) config.Peer {
	p := config.Peer{Name: name, Address: netip.MustParseAddr("10.0.0.1"), ASN: 64512, Port: 179, Weights: config.EncodeLinkBandwidth | config.EncodeCommunity, LinkBandwidth: config.Both, Community: config.CommunityWeights{ASN: 64513, Base: 10000}}
	change(&p)
	return p
}

// Each row is a list of peers and what comes of them on the node n1 in rack a.
func TestSessions(t *testing.T) {
	addr := netip.MustParseAddr
	note := func(key string) config.From { return config.From{NodeAnnotation: key} }
	gateway := func(f cluster.Family) func(*config.Peer) {
		return func(p *config.Peer) { p.Address, p.AddressFrom = netip.Addr{}, config.From{DefaultGateway: f} }
	}
	from := func(key string) func(*config.Peer) {
		return func(p *config.Peer) { p.Address, p.AddressFrom = netip.Addr{}, note(key) }
	}
	tests := []struct {
		desc  string
		peers []config.Peer
		want  []string
	}{
		{"a peer of another rack is none of ours", []config.Peer{
			peer("a", func(p *config.Peer) { p.NodeSelector = rack("a") }),
			peer("b", func(p *config.Peer) { p.NodeSelector, p.Address = rack("b"), addr("10.0.0.2") }),
		}, []string{"a 10.0.0.1 as 64512"}},
		{"the first override that selects the node replaces the peer", []config.Peer{
			peer("a", func(p *config.Peer) {
				p.Overrides = []config.Peer{
					peer("", func(p *config.Peer) { p.NodeSelector, p.Address = rack("b"), addr("10.0.0.2") }),
					peer("", func(p *config.Peer) { p.NodeSelector, p.Address = rack("a"), addr("10.0.0.3") }),
					peer("", func(p *config.Peer) { p.Address = addr("10.0.0.4") }),
				}
			}),
		}, []string{"a 10.0.0.3 as 64512"}},
		{"an address out of an annotation", []config.Peer{peer("a", from("tor"))}, []string{"a 10.9.9.9 as 64512"}},
		{"an address out of a label", []config.Peer{
			peer("a", func(p *config.Peer) { p.Address, p.AddressFrom = netip.Addr{}, config.From{NodeLabel: "tor4"} }),
		}, []string{"a 10.8.8.8 as 64512"}},
		{"a missing annotation", []config.Peer{peer("a", from("none"))}, []string{
			"refused a: addressFrom: the node has no annotation none; set it to an IP address, or write the address down",
		}},
		{"an annotation that is no address", []config.Peer{peer("a", from("bad"))}, []string{
			`refused a: addressFrom: the node's annotation bad is "tor": not an IP address such as 10.0.0.1; correct it`,
		}},
		{"an annotation that is an address to hand out", []config.Peer{peer("a", from("vip"))}, []string{
			"refused a: addressFrom: 198.51.100.7 is in pool public, and could be handed out; take it out of the pool",
		}},
		{"a link-local address without a link", []config.Peer{peer("a", from("ll"))}, []string{
			"refused a: fe80::1 is link-local, so it says nothing without a link; set interface",
		}},
		{"a link-local address with a link", []config.Peer{peer("a", from("llzone"))}, []string{"a fe80::1 on eth0 as 64512"}},
		{"the default gateway", []config.Peer{peer("a", gateway(cluster.IPv4))}, []string{"a 10.0.0.254 as 64512"}},
		{"no default gateway of the family", []config.Peer{peer("a", gateway(cluster.IPv6))}, []string{
			"refused a: addressFrom: the node has no default route for IPv6; give it one, or write the address down",
		}},
		{"an AS number out of an annotation", []config.Peer{
			peer("a", func(p *config.Peer) { p.ASN, p.ASNFrom = 0, note("asn") }),
		}, []string{"a 10.0.0.1 as 65001"}},
		{"an AS number that is none", []config.Peer{
			peer("a", func(p *config.Peer) { p.ASN, p.ASNFrom = 0, note("bad") }),
			peer("b", func(p *config.Peer) { p.ASN, p.ASNFrom = 0, note("reserved") }),
			peer("c", func(p *config.Peer) { p.ASN, p.ASNFrom = 0, note("none") }),
		}, []string{
			`refused a: asnFrom: the node's annotation bad is "tor": not the number of an AS such as 64512; correct it`,
			"refused b: asnFrom: the node's annotation reserved is 23456, which is reserved; correct it",
			"refused c: asnFrom: the node has no annotation none; set it to the number of the peer's AS, or give the peer an asn",
		}},
		{"our own AS is iBGP, also one of localASN", []config.Peer{
			peer("a", func(p *config.Peer) { p.ASN = 64513 }),
			peer("b", func(p *config.Peer) { p.Address, p.LocalASN = addr("10.0.0.2"), 64512 }),
			peer("c", func(p *config.Peer) { p.Address, p.ASN, p.External = addr("10.0.0.3"), 0, true }),
		}, []string{"a 10.0.0.1 as 64513 internal", "b 10.0.0.2 as 64512 local-as 64512 internal", "c 10.0.0.3 as 0"}},
		{"a source address of the other family", []config.Peer{
			peer("a", func(p *config.Peer) { p.SourceAddressFrom = note("six") }),
			peer("b", func(p *config.Peer) { p.SourceAddressFrom = note("tor") }),
		}, []string{
			"b 10.0.0.1 as 64512 source 10.9.9.9",
			"refused a: sourceAddressFrom: 2001:db8::1 is not of the family of the peer's address, 10.0.0.1; both must be IPv4, or both IPv6",
		}},
		{"two peers with one address: the first counts", []config.Peer{
			peer("z", func(*config.Peer) {}), peer("a", func(*config.Peer) {}),
		}, []string{
			"z 10.0.0.1 as 64512",
			"refused a: 10.0.0.1 is the neighbour of peer z already; let nodeSelector keep one of the two from this node",
		}},
		{"one link-local address on two links is two peers", []config.Peer{
			peer("a", func(p *config.Peer) { p.Address, p.Interface = addr("fe80::1"), "eth0" }),
			peer("b", func(p *config.Peer) { p.Address, p.Interface = addr("fe80::1"), "eth1" }),
			peer("c", func(p *config.Peer) { p.Address, p.Interface = addr("fe80::1"), "eth1" }),
		}, []string{
			"a fe80::1 on eth0 as 64512", "b fe80::1 on eth1 as 64512",
			"refused c: fe80::1%eth1 is the neighbour of peer b already; let nodeSelector keep one of the two from this node",
		}},
		{"ranges are passive, and unique as well", []config.Peer{
			peer("a", func(p *config.Peer) {
				p.Address, p.AddressRange = netip.Addr{}, netip.MustParsePrefix("10.0.0.0/24")
			}),
			peer("b", func(p *config.Peer) {
				p.Address, p.AddressRange = netip.Addr{}, netip.MustParsePrefix("10.0.0.0/24")
			}),
		}, []string{
			"a from 10.0.0.0/24 as 64512 passive",
			"refused b: 10.0.0.0/24 is the neighbour of peer a already; let nodeSelector keep one of the two from this node",
		}},
		{"unnumbered", []config.Peer{
			peer("a", func(p *config.Peer) { p.Address, p.Interface = netip.Addr{}, "eth0" }),
			peer("b", func(p *config.Peer) { p.Address, p.Interface = netip.Addr{}, "eth1" }),
		}, []string{"a on eth0 as 64512", "b on eth1 as 64512"}},
		{"BFD", []config.Peer{
			peer("a", func(p *config.Peer) { p.BFDProfile = "fast" }),
			peer("b", func(p *config.Peer) { p.BFDProfile, p.Address = "default", addr("10.0.0.2") }),
			peer("d", func(p *config.Peer) { p.BFDProfile, p.Address = "strict", addr("10.0.0.4") }),
			peer("c", func(p *config.Peer) { p.BFDProfile, p.Address = "slow", addr("10.0.0.3") }),
		}, []string{
			"a 10.0.0.1 as 64512 bfd 50ms/50ms x 3", "b 10.0.0.2 as 64512 bfd 300ms/300ms x 3", "d 10.0.0.4 as 64512 bfd 300ms/300ms x 3 strict",
			"refused c: there is no BFD profile slow; add it to bfdProfiles",
		}},
		{"as many paths as the family with more aliases has", []config.Peer{peer("a", func(p *config.Peer) {
			p.Weights = config.EncodeAddPath
			p.AddPath.Prefixes = []netip.Prefix{
				netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("10.0.2.0/24"), netip.MustParsePrefix("fd00:1::/64"),
			}
		})}, []string{"a 10.0.0.1 as 64512 paths 3"}},
	}
	for _, tt := range tests {
		t.Run(tt.desc, func(t *testing.T) {
			c := *testConfig(t)
			c.Pools = []config.Pool{{Name: "public", Ranges: []config.Range{{From: addr("198.51.100.0"), To: addr("198.51.100.255")}}}}
			c.Peers = tt.peers
			c.BFDProfiles = []config.BFDProfile{{Name: "fast", ReceiveInterval: 50 * time.Millisecond, TransmitInterval: 50 * time.Millisecond, DetectMultiplier: 3}, {Name: "strict", ReceiveInterval: 300 * time.Millisecond, TransmitInterval: 300 * time.Millisecond, DetectMultiplier: 3, Strict: true}}
			table := plan.Compute(plan.Input{
				Self: "n1", Config: &c, Gateways: map[cluster.Family]netip.Addr{cluster.IPv4: addr("10.0.0.254")},
				Cluster: cluster.Snapshot{Nodes: []cluster.Node{{
					Name: "n1", Ready: true, Labels: map[string]string{"rack": "a", "tor4": "10.8.8.8"},
					Annotations: map[string]string{
						"tor": "10.9.9.9", "bad": "tor", "vip": "198.51.100.7", "ll": "fe80::1", "llzone": "fe80::1%eth0",
						"asn": "65001", "reserved": "23456", "six": "2001:db8::1",
					},
				}}},
			})
			if diff := cmp.Diff(tt.want, sessionTexts(table)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func sessionTexts(t plan.Table) (out []string) {
	for _, s := range t.Sessions {
		out = append(out, shortText(s))
	}
	for _, r := range t.Refused {
		out = append(out, "refused "+r.Name+": "+r.Problem)
	}
	return out
}

// shortText is sessionText without what all of these have in common.
func shortText(s plan.Session) string {
	return strings.NewReplacer("session ", "", " hold 0s", "", ":179", "", "[", "", "]", "", " by addPath", "").Replace(sessionText(s))
}

func TestBGPOverrides(t *testing.T) {
	c := *testConfig(t)
	c.BGP.Overrides = []config.BGPOverride{
		{NodeSelector: rack("a"), RouterID: netip.MustParseAddr("10.255.0.1")},
		{NodeSelector: rack("b"), ASN: 64600},
		{NodeSelector: rack("a"), ASN: 64700},
	}
	nodes := []cluster.Node{
		{Name: "n1", Labels: map[string]string{"rack": "a"}, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.11")}},
		{Name: "n2", Labels: map[string]string{"rack": "b"}, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.12")}},
		{Name: "n3", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.13")}},
	}
	want := map[string]string{"n1": "64513 10.255.0.1", "n2": "64600 10.0.0.12", "n3": "64513 10.0.0.13"}
	for _, n := range nodes {
		table := plan.Compute(plan.Input{Self: n.Name, Config: &c, Cluster: cluster.Snapshot{Nodes: nodes}})
		if got := strings.Fields(text(table))[2] + " " + table.RouterID.String(); got != want[n.Name] {
			t.Errorf("%s: got %s, want %s", n.Name, got, want[n.Name])
		}
	}
}
