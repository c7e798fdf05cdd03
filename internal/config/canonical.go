package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"

	"go.yaml.in/yaml/v3"

	"github.com/heraldlb/herald/internal/cluster"
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
	w := wireConfig{APIVersion: APIVersion, Kind: "Config", Class: cmp.Or(c.Scope.Class, cluster.Class), Classless: ClasslessServe, Compatible: compatibleNone, OnRemoval: removalKeep, Pools: []wirePool{}}
	if c.Scope.SkipClassless {
		w.Classless = ClasslessIgnore
	}
	if c.Scope.MetalLB {
		w.Compatible = compatibleMetalLB
	}
	if c.ReleaseRemoved {
		w.OnRemoval = removalRelease
	}
	for _, p := range c.Pools {
		w.Pools = append(w.Pools, p.wire())
	}
	for _, p := range c.Peers {
		w.Peers = append(w.Peers, p.wire())
	}
	for _, p := range c.BFDProfiles {
		w.BFDProfiles = append(w.BFDProfiles, wireBFDProfile{p.Name, short(p.ReceiveInterval), short(p.TransmitInterval), p.DetectMultiplier, p.Strict})
	}
	for _, a := range c.Advertisements {
		w.Advertisements = append(w.Advertisements, a.wire())
	}
	w.BGP = c.BGP.wire()
	w.Nodes = c.Nodes.wire()
	return w
}

func (b BGP) wire() wireBGP {
	w := wireBGP{ASN: b.ASN, ListenPort: b.ListenPort, Weights: wireWeights{
		Interval:      short(b.Weights.Interval),
		MinChange:     b.Weights.MinChange,
		DecreaseDelay: short(b.Weights.DecreaseDelay),
		SettleTime:    short(b.Weights.SettleTime),
	}}
	for _, o := range b.Overrides {
		w.Overrides = append(w.Overrides, wireBGPOverride{o.NodeSelector.wire(), o.ASN, addrText(o.RouterID)})
	}
	return w
}

func (n Nodes) wire() wireNodes {
	w := wireNodes{
		Cordoned:        cordonedKeep,
		DrainTaint:      n.DrainTaint,
		DrainAnnotation: n.DrainAnnotation,
		DrainTime:       short(n.DrainTime),
		ForwardingGate:  autoOrOff(n.ForwardingGate),
		StateMaxAge:     short(n.StateMaxAge),
		Fuse:            wireFuse{n.Fuse.Percent, short(n.Fuse.HoldTime)},
	}
	if n.CordonedLeave {
		w.Cordoned = cordonedLeave
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
		Sharing:       withinNamespace,
		Weights:       autoOrOff(p.Weights),
		FlowRescue:    autoOrOff(p.FlowRescue),

		Announce:          p.protocols(),
		Interfaces:        p.Interfaces,
		ExcludeInterfaces: p.ExcludeInterfaces,

		NamespaceSelector: p.NamespaceSelector.wire(),
		ServiceSelector:   p.ServiceSelector.wire(),
		NodeSelector:      p.NodeSelector.wire(),
	}
	if p.Quarantine != defaultQuarantine {
		w.Quarantine = short(p.Quarantine)
	}
	if p.SharingAcross {
		w.Sharing = acrossNamespaces
	}
	for _, r := range p.Ranges {
		w.Ranges = append(w.Ranges, r.String())
	}
	for _, r := range p.Reserved {
		w.Reserved = append(w.Reserved, r.String())
	}
	for _, r := range p.Retired {
		w.Retired = append(w.Retired, r.String())
	}
	return w
}

// autoOrOff is the word that spot.autoOrOff reads.
func autoOrOff(on bool) string {
	if on {
		return "auto"
	}
	return "off"
}

// wire is nil for a selector that selects everything.
func (s Selector) wire() *wireSelector {
	if s.empty() {
		return nil
	}
	w := &wireSelector{MatchLabels: s.MatchLabels}
	for _, r := range s.MatchExpressions {
		w.MatchExpressions = append(w.MatchExpressions, wireRequirement(r))
	}
	return w
}

// String is the range as a prefix, if it is one, or else as from-to.
func (r Range) String() string {
	if p, ok := r.prefix(); ok {
		return p.String()
	}
	return r.From.String() + "-" + r.To.String()
}

// prefix is the range as a prefix, if it is one.
func (r Range) prefix() (netip.Prefix, bool) {
	for bits := r.From.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(r.From, bits)
		if p.Masked() != p {
			break
		}
		if lastOf(p) == r.To {
			return p, true
		}
	}
	return netip.Prefix{}, false
}
