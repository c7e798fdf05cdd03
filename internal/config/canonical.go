package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"

	"go.yaml.in/yaml/v3"
)

// The wire types give the canonical text its keys and their order.
type (
	wireConfig struct {
		APIVersion string     `yaml:"apiVersion"`
		Kind       string     `yaml:"kind"`
		Pools      []wirePool `yaml:"pools"`
		Peers      []wirePeer `yaml:"peers,omitempty"`
		BGP        wireBGP    `yaml:"bgp"`
		Nodes      wireNodes  `yaml:"nodes"`
	}
	wirePool struct {
		Name            string        `yaml:"name"`
		Ranges          []string      `yaml:"ranges"`
		IPFamily        string        `yaml:"ipFamily,omitempty"`
		AutoAssign      bool          `yaml:"autoAssign"`
		AvoidBuggyIPs   bool          `yaml:"avoidBuggyIPs"`
		Priority        int           `yaml:"priority"`
		Namespaces      []string      `yaml:"namespaces,omitempty"`
		ServiceSelector *wireSelector `yaml:"serviceSelector,omitempty"`
		Weights         string        `yaml:"weights"`

		Announce          []string      `yaml:"announce,flow"`
		Interfaces        []string      `yaml:"interfaces,omitempty"`
		ExcludeInterfaces []string      `yaml:"excludeInterfaces,omitempty"`
		NodeSelector      *wireSelector `yaml:"nodeSelector,omitempty"`
	}
	wireNodes struct {
		Cordoned string `yaml:"cordoned"`
	}
	wireSelector struct {
		MatchLabels      map[string]string `yaml:"matchLabels,omitempty"`
		MatchExpressions []wireRequirement `yaml:"matchExpressions,omitempty"`
	}
	wireRequirement struct {
		Key      string   `yaml:"key"`
		Operator string   `yaml:"operator"`
		Values   []string `yaml:"values,omitempty"`
	}
	wirePeer struct {
		Name             string `yaml:"name"`
		Address          string `yaml:"address"`
		ASN              uint32 `yaml:"asn"`
		Port             uint16 `yaml:"port"`
		HoldTime         string `yaml:"holdTime"`
		KeepaliveTime    string `yaml:"keepaliveTime"`
		ConnectRetryTime string `yaml:"connectRetryTime"`
		LinkBandwidth    string `yaml:"linkBandwidth"`
	}
	wireBGP struct {
		ASN     uint32      `yaml:"asn,omitempty"`
		Weights wireWeights `yaml:"weights"`
	}
	wireWeights struct {
		Interval      string `yaml:"interval"`
		MinChange     int    `yaml:"minChange"`
		DecreaseDelay string `yaml:"decreaseDelay"`
		SettleTime    string `yaml:"settleTime"`
	}
)

// YAML is the canonical text: every default written out, every range in its
// shortest form. Parse reads it back to an equal Config.
func (c *Config) YAML() []byte {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(c.wire()); err != nil {
		panic(fmt.Sprintf("encode a configuration: %v", err)) // strings and numbers always encode
	}
	return b.Bytes()
}

// Hash names the canonical text: configurations that mean the same have the
// same hash.
func (c *Config) Hash() string {
	sum := sha256.Sum256(c.YAML())
	return hex.EncodeToString(sum[:])[:12]
}

func (c *Config) wire() wireConfig {
	w := wireConfig{APIVersion: APIVersion, Kind: "Config", Pools: []wirePool{}}
	for _, p := range c.Pools {
		w.Pools = append(w.Pools, p.wire())
	}
	for _, p := range c.Peers {
		w.Peers = append(w.Peers, p.wire())
	}
	w.BGP = wireBGP{c.BGP.ASN, wireWeights{
		Interval:      short(c.BGP.Weights.Interval),
		MinChange:     c.BGP.Weights.MinChange,
		DecreaseDelay: short(c.BGP.Weights.DecreaseDelay),
		SettleTime:    short(c.BGP.Weights.SettleTime),
	}}
	w.Nodes.Cordoned = cordonedKeep
	if c.Nodes.CordonedLeave {
		w.Nodes.Cordoned = cordonedLeave
	}
	return w
}

func (p Pool) wire() wirePool {
	w := wirePool{
		Name:          p.Name,
		AutoAssign:    p.AutoAssign,
		AvoidBuggyIPs: p.AvoidBuggyIPs,
		Priority:      p.Priority,
		Namespaces:    p.Namespaces,
		Weights:       "auto",

		Announce:          p.protocols(),
		Interfaces:        p.Interfaces,
		ExcludeInterfaces: p.ExcludeInterfaces,
	}
	if !p.Weights {
		w.Weights = "off"
	}
	for _, r := range p.Ranges {
		w.Ranges = append(w.Ranges, r.String())
	}
	if s := p.ServiceSelector; !s.empty() {
		w.ServiceSelector = s.wire()
	}
	if s := p.NodeSelector; !s.empty() {
		w.NodeSelector = s.wire()
	}
	return w
}

func (s Selector) wire() *wireSelector {
	w := &wireSelector{MatchLabels: s.MatchLabels}
	for _, r := range s.MatchExpressions {
		w.MatchExpressions = append(w.MatchExpressions, wireRequirement(r))
	}
	return w
}

func (p Peer) wire() wirePeer {
	w := wirePeer{
		Name:             p.Name,
		Address:          p.Address.String(),
		ASN:              p.ASN,
		Port:             p.Port,
		HoldTime:         short(p.HoldTime),
		KeepaliveTime:    short(p.KeepaliveTime),
		ConnectRetryTime: short(p.ConnectRetryTime),
		LinkBandwidth:    string(p.LinkBandwidth),
	}
	return w
}

// String is the range as a prefix, if it is one, or else as from-to.
func (r Range) String() string {
	for bits := r.From.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(r.From, bits)
		if p.Masked() != p {
			break
		}
		if lastOf(p) == r.To {
			return p.String()
		}
	}
	return r.From.String() + "-" + r.To.String()
}
