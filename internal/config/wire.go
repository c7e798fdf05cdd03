package config

import "go.yaml.in/yaml/v3"

// The wire types give the canonical text its keys and their order.
type (
	wireConfig struct {
		APIVersion string     `yaml:"apiVersion"`
		Kind       string     `yaml:"kind"`
		Class      string     `yaml:"serviceClass"`
		Classless  string     `yaml:"classless"`
		Compatible string     `yaml:"compatibility"`
		OnRemoval  string     `yaml:"onRemoval"`
		Pools      []wirePool `yaml:"pools"`
		Peers      []wirePeer `yaml:"peers,omitempty"`

		BFDProfiles    []wireBFDProfile    `yaml:"bfdProfiles"`
		Advertisements []wireAdvertisement `yaml:"advertisements,omitempty"`

		BGP   wireBGP   `yaml:"bgp"`
		Nodes wireNodes `yaml:"nodes"`
	}
	wirePool struct {
		Name          string   `yaml:"name"`
		Ranges        []string `yaml:"ranges,omitempty"`
		Reserved      []string `yaml:"reserved,omitempty"`
		Retired       []string `yaml:"retired,omitempty"`
		IPFamily      string   `yaml:"ipFamily,omitempty"`
		AutoAssign    bool     `yaml:"autoAssign"`
		AvoidBuggyIPs bool     `yaml:"avoidBuggyIPs"`
		Priority      int      `yaml:"priority"`
		Quarantine    string   `yaml:"quarantine,omitempty"` // where it is not the default: older speakers do not know it
		Namespaces    []string `yaml:"namespaces,omitempty"`

		NamespaceSelector *wireSelector `yaml:"namespaceSelector,omitempty"`

		ServiceSelector *wireSelector `yaml:"serviceSelector,omitempty"`
		Sharing         string        `yaml:"sharing"`
		Weights         string        `yaml:"weights"`
		FlowRescue      string        `yaml:"flowRescue"`

		Announce          []string      `yaml:"announce,flow"`
		Interfaces        []string      `yaml:"interfaces,omitempty"`
		ExcludeInterfaces []string      `yaml:"excludeInterfaces,omitempty"`
		NodeSelector      *wireSelector `yaml:"nodeSelector,omitempty"`
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
		Name         string             `yaml:"name"`
		NodeSelector *wireSelector      `yaml:"nodeSelector,omitempty"`
		Settings     wireSettings       `yaml:",inline"`
		Overrides    []wirePeerOverride `yaml:"overrides,omitempty"`
	}
	wirePeerOverride struct {
		NodeSelector *wireSelector `yaml:"nodeSelector"`
		Settings     wireSettings  `yaml:",inline"`
	}
	wireSettings struct {
		Address           string       `yaml:"address,omitempty"`
		AddressFrom       *wireFrom    `yaml:"addressFrom,omitempty,flow"`
		AddressRange      string       `yaml:"addressRange,omitempty"`
		Interface         string       `yaml:"interface,omitempty"`
		ASN               any          `yaml:"asn,omitempty"` // a number or external
		ASNFrom           *wireFrom    `yaml:"asnFrom,omitempty,flow"`
		LocalASN          uint32       `yaml:"localASN,omitempty"`
		Port              uint16       `yaml:"port,omitempty"`
		Passive           bool         `yaml:"passive"`
		SourceAddress     string       `yaml:"sourceAddress,omitempty"`
		SourceAddressFrom *wireFrom    `yaml:"sourceAddressFrom,omitempty,flow"`
		EBGPMultihop      uint8        `yaml:"ebgpMultihop,omitempty"`
		TTLSecurity       uint8        `yaml:"ttlSecurity,omitempty"`
		PasswordKey       string       `yaml:"passwordKey,omitempty"`
		HoldTime          string       `yaml:"holdTime"`
		KeepaliveTime     string       `yaml:"keepaliveTime"`
		ConnectRetryTime  string       `yaml:"connectRetryTime"`
		RestartTime       string       `yaml:"restartTime"`
		BFDProfile        string       `yaml:"bfdProfile,omitempty"`
		Weights           oneOrMore    `yaml:"weights"`
		LinkBandwidth     string       `yaml:"linkBandwidth,omitempty"`
		Community         string       `yaml:"community,omitempty"`
		AddPath           *wireAddPath `yaml:"addPath,omitempty"`
	}
	wireFrom struct {
		DefaultGateway string `yaml:"defaultGateway,omitempty"`
		NodeAnnotation string `yaml:"nodeAnnotation,omitempty"`
		NodeLabel      string `yaml:"nodeLabel,omitempty"`
	}
	wireAddPath struct {
		Prefixes []string `yaml:"prefixes"`
		Width    int      `yaml:"width"`
	}

	wireBFDProfile struct {
		Name             string `yaml:"name"`
		ReceiveInterval  string `yaml:"receiveInterval"`
		TransmitInterval string `yaml:"transmitInterval"`
		DetectMultiplier uint8  `yaml:"detectMultiplier"`
		Strict           bool   `yaml:"strict,omitempty"`
	}
	wireAdvertisement struct {
		Pools               []string      `yaml:"pools,omitempty"`
		Peers               []string      `yaml:"peers,omitempty"`
		NodeSelector        *wireSelector `yaml:"nodeSelector,omitempty"`
		ServiceSelector     *wireSelector `yaml:"serviceSelector,omitempty"`
		Namespaces          []string      `yaml:"namespaces,omitempty"`
		PodCIDRs            bool          `yaml:"podCIDRs,omitempty"`
		AggregationLength   int           `yaml:"aggregationLength"`
		AggregationLengthV6 int           `yaml:"aggregationLengthV6"`
		Communities         []string      `yaml:"communities,omitempty"`
		LocalPref           *uint32       `yaml:"localPref,omitempty"`
		MED                 *uint32       `yaml:"med,omitempty"`
		Prepend             int           `yaml:"prepend"`
	}

	wireBGP struct {
		ASN        uint32            `yaml:"asn,omitempty"`
		ListenPort uint16            `yaml:"listenPort"`
		Weights    wireWeights       `yaml:"weights"`
		Overrides  []wireBGPOverride `yaml:"overrides,omitempty"`
	}
	wireWeights struct {
		Interval      string `yaml:"interval"`
		MinChange     int    `yaml:"minChange"`
		DecreaseDelay string `yaml:"decreaseDelay"`
		SettleTime    string `yaml:"settleTime"`
	}
	wireBGPOverride struct {
		NodeSelector *wireSelector `yaml:"nodeSelector"`
		ASN          uint32        `yaml:"asn,omitempty"`
		RouterID     string        `yaml:"routerID,omitempty"`
	}

	wireNodes struct {
		Cordoned        string   `yaml:"cordoned"`
		DrainTaint      string   `yaml:"drainTaint"`
		DrainAnnotation string   `yaml:"drainAnnotation"`
		DrainTime       string   `yaml:"drainTime"`
		ForwardingGate  string   `yaml:"forwardingGate"`
		StateMaxAge     string   `yaml:"stateMaxAge"`
		Fuse            wireFuse `yaml:"fuse"`
	}
	wireFuse struct {
		Percent  int    `yaml:"percent"`
		HoldTime string `yaml:"holdTime"`
	}
)

// oneOrMore is one word, or a list.
type oneOrMore []string

// MarshalYAML implements yaml.Marshaler.
func (l oneOrMore) MarshalYAML() (any, error) {
	if len(l) == 1 {
		return l[0], nil
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, w := range l {
		list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: w})
	}
	return list, nil
}
