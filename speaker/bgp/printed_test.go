package bgp

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/router"
	"github.com/heraldlb/herald/speaker/plan"
)

// stranger is in no pool, so the printed filters must not let it in.
const stranger = "203.0.113.9"

// printed is a configuration whose router's side is printed, loaded, and used.
type printed struct {
	name   string
	conf   string // of peers and bgp
	nodes  string // how the router knows them; empty: in 10.8.0.0/24
	weighs bool   // the router can weight with it
}

const (
	addPathPrefixes = "[10.8.0.96/28, 10.8.0.112/28, 10.8.0.128/28, 'fd08:1::/64', 'fd08:2::/64', 'fd08:3::/64']"

	theNodes, theNodes6 = "10.8.0.11 10.8.0.12 10.8.0.13", "fd08::11 fd08::12 fd08::13"
)

// usual are those that all routers are tried with.
var usual = []printed{
	{"eBGP", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, %s}]\nbgp: {asn: 64513}\n", "", true},
	{"iBGP over IPv6", "peers: [{name: tor, address: 'fd08::1', asn: 64512, %s}]\nbgp: {asn: 64512}\n", theNodes6, true},
}

// special are those that one router of each kind is tried with.
var special = []printed{
	{"the router dials", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, passive: true, %s}]\nbgp: {asn: 64513, listenPort: 1179}\n", theNodes, true},
	{"AS numbers of 32 bits, and another community", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, community: '64999:100', weights: [linkBandwidth, community], %s}]\nbgp: {asn: 4200000001}\n", "", true},
	{"a number for each node", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, %s}]\nbgp: {asn: 64513, overrides: [{nodeSelector: {matchLabels: {name: n2}}, asn: 64514}]}\n", "", true},
	{"a number of its own", "peers: [{name: tor, address: 10.8.0.1, asn: external, localASN: 64999, %s}]\nbgp: {asn: 4200000001}\n", "", true},
	{"BFD, a password and TTL security", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, bfdProfile: default, passwordKey: tor, ttlSecurity: 1, %s}]\nbgp: {asn: 64513}\n", theNodes, true},
	{"multihop", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, ebgpMultihop: 3, %s}]\nbgp: {asn: 64513}\n", "", true},
	{"an aggregate", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, %s}]\nadvertisements: [{aggregationLength: 31, aggregationLengthV6: 120}]\nbgp: {asn: 64513}\n", "", true},
	{"ADD-PATH", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, weights: addPath, addPath: {prefixes: " + addPathPrefixes + "}, %s}]\nbgp: {asn: 64513}\n", "", true},
	{"no weights", "peers: [{name: tor, address: 10.8.0.1, asn: 64512, weights: none, %s}]\nbgp: {asn: 64513}\n", "", false},
}

// TestPrintedRouters loads what heraldctl router prints into the real routers, and
// wants sessions to come up, weights to arrive and strangers to stay out.
func TestPrintedRouters(t *testing.T) {
	for _, part := range slices.Concat(netlab.FRRs, netlab.BIRDs) {
		list := usual
		if part == netlab.DefaultFRR || part == netlab.DefaultBIRD {
			list = slices.Concat(usual, special)
		}
		for _, p := range list {
			t.Run(part+" "+p.name, func(t *testing.T) {
				t.Parallel()
				p.run(t, part)
			})
		}
	}
}

func (p printed) run(t *testing.T, part string) {
	r := newRack(t, len(podsOf))
	c, err := config.Parse([]byte("apiVersion: heraldlb.io/v1\npools: [{name: public, ranges: [198.51.100.8-198.51.100.99, '2001:db8:5::/112']}]\n" +
		fmt.Sprintf(p.conf, "holdTime: 3s, connectRetryTime: 2s")))
	if err != nil {
		t.Fatal(err)
	}
	load(t, r, part, p.side(t, part, c))
	cl := threeNodes()
	var nodes []*remote
	for i, n := range r.nodes {
		a := startAnnouncer(t, n)
		a.tell(order{Passwords: map[string]string{"tor": "secret"}})
		table := plan.Compute(plan.Input{Self: cl.Nodes[i].Name, Config: c, Cluster: cl})
		table.Routes = append(table.Routes, plan.Route{Peer: "tor", Prefix: netip.MustParsePrefix(stranger + "/32"), Weight: 1, NextHops: []netip.Addr{cl.Nodes[i].Addrs[0]}})
		for _, alias := range table.Aliases() {
			bits := "/24"
			if alias.Is6() {
				bits = "/64"
			}
			n.Addr("eth0", alias.String()+bits)
		}
		a.apply(table)
		nodes = append(nodes, a)
	}
	netlab.Eventually(t, 25*time.Second, func() string {
		for _, vip := range []string{vip4, vip6} {
			if why := wantShares(fib(r.router, vip), p.weighs && part != readsNoFloat); why != "" {
				return fmt.Sprintf("%s: %s: %s; %+v", part, vip, why, nodes[0].peers())
			}
		}
		return ""
	})
	if got := fib(r.router, stranger); got != "" {
		t.Errorf("%s, which no pool has, goes to %s", stranger, got)
	}
	if c.Peers[0].BFDProfile == "" {
		return
	}
	netlab.Eventually(t, 15*time.Second, func() string {
		if s := nodes[0].peer("tor"); s.BFD != "Up" {
			return fmt.Sprintf("BFD is %+v", s)
		}
		return ""
	})
}

// side is what heraldctl router prints.
func (p printed) side(t *testing.T, part string, c *config.Config) string {
	kind := "BIRD"
	if strings.HasPrefix(part, "frr") {
		kind = "FRR"
	}
	o := router.Options{}
	if c.Peers[0].ASN == 0 {
		o.ASN = 64512
	}
	for _, n := range strings.Fields(p.nodes) {
		o.Nodes = append(o.Nodes, netip.MustParseAddr(n))
	}
	sections, err := router.Write(kind, c, o)
	if err != nil || len(sections) != 1 {
		t.Fatalf("%v, %d sections", err, len(sections))
	}
	return strings.ReplaceAll(sections[0].Text, "PASSWORD", "secret")
}

// load brings the router up with what was printed, and no word more than it needs
// to start.
func load(t *testing.T, r *rack, part, text string) {
	t.Logf("%s gets\n%s", part, text)
	// Aliases of ADD-PATH are addresses of the link.
	r.router.Addr("eth0", "fd08:1::1/64", "fd08:2::1/64", "fd08:3::1/64")
	if !strings.HasPrefix(part, "frr") {
		routes := ""
		if strings.Contains(text, "multihop") {
			routes = "protocol direct { ipv4; ipv6; }\n"
		}
		r.router.BIRDOf(part, "router id 10.8.0.1;\nprotocol device {}\n"+routes+text)
		return
	}
	frr := r.router.FRROf(part, "")
	if strings.Contains(text, "bfd") {
		frr.StartBFD("")
	}
	if err := frr.Load(text); err != nil {
		t.Fatal(err)
	}
}

// threeNodes have 1, 3 and 4 pods of one Service.
func threeNodes() cluster.Snapshot {
	s := cluster.Service{
		Namespace: "default", Name: "web", LoadBalancer: true, LocalOnly: true,
		Ingress: []netip.Addr{netip.MustParseAddr(vip4), netip.MustParseAddr(vip6)},
	}
	var out cluster.Snapshot
	for i, pods := range podsOf {
		name := fmt.Sprintf("n%d", i+1)
		out.Nodes = append(out.Nodes, cluster.Node{
			Name: name, Ready: true, Labels: map[string]string{"name": name},
			Addrs: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.8.0.%d", 11+i)), netip.MustParseAddr(fmt.Sprintf("fd08::%d", 11+i))},
		})
		for j := range pods {
			for _, a := range []string{"10.244.%d.%d", "fd00:244::%d:%d"} {
				s.Endpoints = append(s.Endpoints, cluster.Endpoint{Addr: netip.MustParseAddr(fmt.Sprintf(a, i, j+1)), Node: name, Ready: true, Serving: true})
			}
		}
	}
	out.Services = []cluster.Service{s}
	return out
}

// wantShares says what is wrong with a route's weights, which must be in the
// proportion of the pods, or equal.
func wantShares(route string, weighted bool) string {
	sum := 0.0
	share := map[byte]float64{}
	for _, hop := range strings.Fields(route) {
		via, text, _ := strings.Cut(hop, "*")
		w, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return "not three next hops: " + route
		}
		// The aliases of 10.8.0.11 are 10.8.0.107 and so on: they end alike in hexadecimal.
		node := via[len(via)-1]
		if a := netip.MustParseAddr(via); a.Is4() {
			node = "0123456789abcdef"[a.As4()[3]&15]
			node = node - 'b' + '1'
		}
		share[node] += w
		sum += w
	}
	if len(share) != len(podsOf) {
		return "not three nodes: " + route
	}
	for i, pods := range podsOf {
		ideal := float64(pods) / 8
		if !weighted {
			ideal = 1.0 / 3
		}
		if got := share[byte('1'+i)] / sum; math.Abs(got-ideal) > ideal/10 {
			return fmt.Sprintf("n%d has %.3f of the weights, want %.3f: %s", i+1, got, ideal, route)
		}
	}
	return ""
}
