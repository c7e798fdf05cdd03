package config

import (
	"fmt"
	"math/rand"
	"net/netip"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// randomConfig is a valid configuration as Parse would return it.
func randomConfig(r *rand.Rand) *Config {
	c := &Config{BGP: randomBGP(r), Nodes: randomNodes(r)}
	c.ReleaseRemoved = coin(r)
	c.Scope = Scope{some(r, "", "example.com/x", "internal"), coin(r), coin(r)}
	for i := range 1 + r.Intn(4) {
		c.Pools = append(c.Pools, randomPool(r, i))
	}
	for i := range r.Intn(4) {
		c.Peers = append(c.Peers, randomPeer(r, i))
	}
	for _, name := range []string{"slow", "default", "1e3"}[r.Intn(2) : 2+r.Intn(2)] {
		c.BFDProfiles = append(c.BFDProfiles, BFDProfile{name, millis(r, 10, 60000), millis(r, 10, 60000), uint8(1 + r.Intn(255)), r.Intn(2) == 0})
	}
	for range r.Intn(4) {
		c.Advertisements = append(c.Advertisements, randomAdvertisement(r, c))
	}
	return c
}

func some[T any](r *rand.Rand, of ...T) T { return of[r.Intn(len(of))] }

func coin(r *rand.Rand) bool { return r.Intn(2) == 0 }

func seconds(r *rand.Rand, low, high int) time.Duration {
	return time.Duration(low+r.Intn(high-low+1)) * time.Second
}

func millis(r *rand.Rand, low, high int) time.Duration {
	return time.Duration(low+r.Intn(high-low+1)) * time.Millisecond
}

func randomBGP(r *rand.Rand) BGP {
	b := BGP{ASN: uint32(1 + r.Intn(20000)), ListenPort: uint16(1 + r.Intn(65535)), Weights: Weights{
		Interval:      time.Duration(r.Intn(int(maxDamping))),
		MinChange:     r.Intn(1001),
		DecreaseDelay: time.Duration(r.Intn(3)) * time.Minute,
		SettleTime:    time.Duration(r.Intn(3)) * time.Hour,
	}}
	for i := range r.Intn(3) {
		o := BGPOverride{NodeSelector: rack(i), ASN: uint32(r.Intn(3))}
		if o.ASN == 0 || coin(r) {
			o.RouterID = netip.AddrFrom4([4]byte{byte(r.Intn(256)), 0, 0, 1})
		}
		b.Overrides = append(b.Overrides, o)
	}
	return b
}

func rack(i int) Selector { return Selector{MatchLabels: map[string]string{"rack": fmt.Sprint(i)}} }

func randomNodes(r *rand.Rand) Nodes {
	return Nodes{
		CordonedLeave:   coin(r),
		DrainTaint:      some(r, "a", "example.com/down", "1"),
		DrainAnnotation: some(r, "b", "example.com/down", "null"),
		DrainTime:       time.Duration(r.Intn(int(maxDrainTime))),
		ForwardingGate:  coin(r),
		Fuse:            Fuse{1 + r.Intn(100), time.Duration(r.Intn(int(maxFuseHold)))},
		StateMaxAge:     time.Duration(r.Int63n(int64(maxStateMaxAge))),
	}
}

func randomPool(r *rand.Rand, i int) Pool {
	p := Pool{
		Name:          []string{"a", "12", "null", "1e3", "0x1f"}[i],
		AutoAssign:    coin(r),
		AvoidBuggyIPs: coin(r),
		Priority:      r.Intn(2001) - 1000,
		Quarantine:    time.Duration(r.Intn(int(maxQuarantine/time.Second))) * time.Second,
		Weights:       coin(r),
		FlowRescue:    coin(r),
	}
	for j := range byte(1 + r.Intn(3)) {
		a, b := byte(r.Intn(256)), byte(r.Intn(256))
		p.Ranges = append(p.Ranges, Range{netip.AddrFrom4([4]byte{20, byte(i), j, min(a, b)}), netip.AddrFrom4([4]byte{20, byte(i), j, max(a, b)})})
	}
	if coin(r) {
		p.Reserved = append(p.Reserved, p.Ranges[0])
	}
	if coin(r) {
		p.Ranges = append(p.Ranges, prefixRange(netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/%d", i, 48+r.Intn(81)))))
	}
	p.Namespaces = append(p.Namespaces, []string{"team-a", "1", "true"}[:r.Intn(4)]...)
	p.NamespaceSelector = randomSelector(r)
	p.ServiceSelector = randomSelector(r)
	p.L2 = coin(r)
	p.BGP = !p.L2 || coin(r)
	if p.L2 {
		p.Interfaces = append(p.Interfaces, []string{"eth0", "1", "*", "bond?.7"}[:r.Intn(5)]...)
		p.ExcludeInterfaces = append(p.ExcludeInterfaces, []string{"wlan*", "0x1f"}[:r.Intn(3)]...)
	}
	if coin(r) {
		p.NodeSelector.MatchLabels = map[string]string{"rack": "12"}
	}
	return p
}

func randomSelector(r *rand.Rand) (s Selector) {
	if coin(r) {
		s.MatchLabels = map[string]string{"app": some(r, "", "1", "yes", "off", "a.b"), "0": "null"}
	}
	for _, op := range []string{opIn, opExists, opNotIn, opDoesNotExist}[:r.Intn(5)] {
		q := Requirement{Key: "example.com/k", Operator: op}
		if op == opIn || op == opNotIn {
			q.Values = []string{"", "1.0", "2001-01-01"}
		}
		s.MatchExpressions = append(s.MatchExpressions, q)
	}
	return s
}

// randomPeer has another neighbour for each i.
func randomPeer(r *rand.Rand, i int) Peer {
	p := Peer{
		Name:         fmt.Sprintf("p%d", i),
		NodeSelector: randomSelector(r),
		Interface:    some(r, "", fmt.Sprintf("eth%d", i)),
		LocalASN:     uint32(r.Intn(3)),
		PasswordKey:  some(r, "", "tor-a", "1", "true"),
		BFDProfile:   some(r, "", "default"),
	}
	p.randomSettings(r, i)
	for j := range r.Intn(3) {
		o := p
		o.Overrides = nil
		o.NodeSelector = rack(j)
		o.Interface = some(r, p.Interface, "bond0")
		o.randomSettings(r, 10*i+j+10)
		p.Overrides = append(p.Overrides, o)
	}
	return p
}

// randomSettings sets what an override may set to anything, too.
func (p *Peer) randomSettings(r *rand.Rand, i int) {
	p.randomWho(r, i)
	p.randomAS(r)
	hold := some(r, 3, 9, 90, 65535)
	p.HoldTime = time.Duration(hold) * time.Second
	p.KeepaliveTime = seconds(r, 1, hold-1)
	p.ConnectRetryTime = seconds(r, 1, 65535)
	p.RestartTime = seconds(r, 0, 4095)
	p.Passive = p.AddressRange.IsValid() || coin(r)
	p.Port = uint16(1 + r.Intn(65535))
	if p.Passive {
		p.Port = 179
	}
	p.randomWeights(r)
}

func (p *Peer) randomWho(r *rand.Rand, i int) {
	b := byte(i)
	inherits := p.Address.IsValid() || p.AddressRange.IsValid() || !p.AddressFrom.IsZero()
	p.Address, p.AddressRange, p.AddressFrom = netip.Addr{}, netip.Prefix{}, From{}
	switch r.Intn(5) {
	case 0:
		p.AddressRange = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, b, 1, 0}), 24)
	case 1:
		p.AddressFrom = some(r, From{NodeLabel: fmt.Sprint(i)}, From{NodeAnnotation: fmt.Sprintf("example.com/%d", i)})
		if i == 0 {
			p.AddressFrom = some(r, From{DefaultGateway: cluster.IPv4}, From{DefaultGateway: cluster.IPv6})
		}
	case 2:
		if !inherits && p.Interface != "" && p.SourceAddress == (netip.Addr{}) {
			return // unnumbered
		}
		fallthrough
	default:
		p.Address = some(r, netip.AddrFrom4([4]byte{10, b, 0, 1}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb9, 15: b}))
		if p.Interface != "" && coin(r) {
			p.Address = netip.AddrFrom16([16]byte{0xfe, 0x80, 15: b})
		}
	}
	p.randomSource(r)
}

func (p *Peer) randomSource(r *rand.Rand) {
	p.EBGPMultihop, p.TTLSecurity = 0, 0
	if coin(r) {
		p.TTLSecurity = uint8(1 + r.Intn(254))
	} else {
		p.EBGPMultihop = uint8(1 + r.Intn(255))
		if isLinkLocal(p.Address) {
			p.EBGPMultihop = 1
		}
	}
	p.SourceAddress, p.SourceAddressFrom = netip.Addr{}, From{}
	if p.Address.Is4() {
		p.SourceAddress = netip.AddrFrom4([4]byte{10, 99, 0, 1})
	} else {
		p.SourceAddressFrom = some(r, From{NodeLabel: "source"}, From{NodeAnnotation: "example.com/source"})
	}
}

func (p *Peer) randomAS(r *rand.Rand) {
	p.ASN, p.External, p.ASNFrom = 0, false, From{}
	switch r.Intn(3) {
	case 0:
		p.ASN = uint32(1 + r.Intn(20000))
	case 1:
		p.External = true
	case 2:
		p.ASNFrom = some(r, From{NodeLabel: "asn"}, From{NodeAnnotation: "example.com/asn"})
	}
}

func (p *Peer) randomWeights(r *rand.Rand) {
	p.Weights = some(r, EncodeLinkBandwidth, EncodeCommunity, EncodeLinkBandwidth|EncodeCommunity, EncodeAddPath, EncodeNone)
	p.LinkBandwidth, p.Community, p.AddPath = Both, CommunityWeights{}, AddPathReplication{}
	if p.Weights.Has(EncodeLinkBandwidth) {
		p.LinkBandwidth = some(r, Both, NonTransitive, Transitive)
	}
	if p.Weights.Has(EncodeCommunity) {
		p.Community = CommunityWeights{uint16(1 + r.Intn(65534)), uint16(r.Intn(maxBase + 1))}
	}
	if p.Weights.Has(EncodeAddPath) {
		p.AddPath = AddPathReplication{Width: 2 + r.Intn(1000), Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db9:1::/64"), netip.MustParsePrefix("10.200.0.0/16")}}
	}
}

func randomAdvertisement(r *rand.Rand, c *Config) Advertisement {
	a := Advertisement{NodeSelector: randomSelector(r), ServiceSelector: randomSelector(r), AggregationLength: 32, AggregationLengthV6: 128}
	for _, p := range c.Pools {
		if p.BGP && coin(r) {
			a.Pools = append(a.Pools, p.Name)
		}
	}
	for _, p := range c.Peers {
		if coin(r) {
			a.Peers = append(a.Peers, p.Name)
		}
	}
	a.Namespaces = append(a.Namespaces, []string{"team-a", "1", "true"}[:r.Intn(4)]...)
	a.Communities = append(a.Communities, []uint32{7, 0xffff0000, 0xffff0003, 0xffff029a, 0xffffff01, 0xffffff04}[r.Intn(3):3+r.Intn(4)]...)
	a.LargeCommunities = append(a.LargeCommunities, []LargeCommunity{{1, 2, 3}, {4200000000, 0, 1}}[:r.Intn(3)]...)
	if n := r.Uint32(); coin(r) {
		a.LocalPref, a.MED = &n, new(uint32)
	}
	a.Prepend = r.Intn(maxPrepend + 1)
	return a
}
