package migrate

import (
	"bytes"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// These are the keys of Herald's configuration that a migration writes, in their
// order. What is the default is left out, so that people can read what comes out.
type (
	configuration struct {
		APIVersion     string          `yaml:"apiVersion"`
		Compatibility  string          `yaml:"compatibility"`
		Pools          []pool          `yaml:"pools"`
		Peers          []peer          `yaml:"peers,omitempty"`
		BFDProfiles    []bfdProfile    `yaml:"bfdProfiles,omitempty"`
		Advertisements []advertisement `yaml:"advertisements,omitempty"`
		BGP            *bgp            `yaml:"bgp,omitempty"`
	}
	pool struct {
		Name          string   `yaml:"name"`
		Ranges        []string `yaml:"ranges"`
		AutoAssign    *bool    `yaml:"autoAssign,omitempty"`
		AvoidBuggyIPs bool     `yaml:"avoidBuggyIPs,omitempty"`
		Priority      int      `yaml:"priority,omitempty"`
		Namespaces    []string `yaml:"namespaces,omitempty"`

		NamespaceSelector *selector `yaml:"namespaceSelector,omitempty"`

		ServiceSelector *selector `yaml:"serviceSelector,omitempty"`
		Sharing         string    `yaml:"sharing"`
		Announce        []string  `yaml:"announce,omitempty,flow"`
		Interfaces      []string  `yaml:"interfaces,omitempty"`
		NodeSelector    *selector `yaml:"nodeSelector,omitempty"`
	}
	peer struct {
		Name             string    `yaml:"name"`
		NodeSelector     *selector `yaml:"nodeSelector,omitempty"`
		Address          string    `yaml:"address,omitempty"`
		Interface        string    `yaml:"interface,omitempty"`
		ASN              plain     `yaml:"asn"`
		LocalASN         uint32    `yaml:"localASN,omitempty"`
		Port             uint16    `yaml:"port,omitempty"`
		SourceAddress    string    `yaml:"sourceAddress,omitempty"`
		EBGPMultihop     uint8     `yaml:"ebgpMultihop,omitempty"`
		PasswordKey      string    `yaml:"passwordKey,omitempty"`
		HoldTime         string    `yaml:"holdTime,omitempty"`
		KeepaliveTime    string    `yaml:"keepaliveTime,omitempty"`
		ConnectRetryTime string    `yaml:"connectRetryTime,omitempty"`
		BFDProfile       string    `yaml:"bfdProfile,omitempty"`
	}
	bfdProfile struct {
		Name             string `yaml:"name"`
		ReceiveInterval  string `yaml:"receiveInterval,omitempty"`
		TransmitInterval string `yaml:"transmitInterval,omitempty"`
		DetectMultiplier int    `yaml:"detectMultiplier,omitempty"`
	}
	advertisement struct {
		Pools               []string  `yaml:"pools,omitempty"`
		Peers               []string  `yaml:"peers,omitempty"`
		NodeSelector        *selector `yaml:"nodeSelector,omitempty"`
		ServiceSelector     *selector `yaml:"serviceSelector,omitempty"`
		AggregationLength   int       `yaml:"aggregationLength,omitempty"`
		AggregationLengthV6 int       `yaml:"aggregationLengthV6,omitempty"`
		Communities         []string  `yaml:"communities,omitempty"`
		LocalPref           uint32    `yaml:"localPref,omitempty"`
		Prepend             int       `yaml:"prepend,omitempty"`
	}
	bgp struct {
		ASN       uint32     `yaml:"asn,omitempty"`
		Overrides []override `yaml:"overrides,omitempty"`
	}
	override struct {
		NodeSelector selector `yaml:"nodeSelector"`
		RouterID     string   `yaml:"routerID"`
	}
)

// plain is written without quotes, be it a number or a word.
type plain string

func number(n uint32) plain { return plain(strconv.FormatUint(uint64(n), 10)) }

// MarshalYAML implements yaml.Marshaler.
func (p plain) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: string(p)}, nil
}

func (c configuration) text() []byte {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(c); err != nil {
		panic(err) // strings and numbers always encode
	}
	return b.Bytes()
}
