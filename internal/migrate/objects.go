package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Group is the API group of MetalLB's objects.
const Group = "metallb.io"

// A Resource is one of Group that MetalLB reads.
type Resource struct{ Version, Name string }

// Resources are those that say how MetalLB is configured.
var Resources = []Resource{
	{"v1beta1", "ipaddresspools"},
	{"v1beta2", "bgppeers"},
	{"v1beta1", "bgpadvertisements"},
	{"v1beta1", "l2advertisements"},
	{"v1beta1", "bfdprofiles"},
	{"v1beta1", "communities"},
}

// objects are MetalLB's, by kind, each in the order of their names.
type objects struct {
	pools       []object[poolSpec]
	peers       []object[peerSpec]
	bgp         []object[bgpSpec]
	l2          []object[l2Spec]
	bfd         []object[bfdSpec]
	communities []object[communitySpec]
}

func (o objects) count() int {
	return len(o.pools) + len(o.peers) + len(o.bgp) + len(o.l2) + len(o.bfd) + len(o.communities)
}

type object[T any] struct {
	name   string
	labels map[string]string
	spec   T
}

// The specs are those of metallb.io/v1beta1, and of v1beta2 for a BGPPeer. What is
// not in them has no equal in Herald.
type (
	poolSpec struct {
		Addresses         []string    `json:"addresses"`
		AutoAssign        *bool       `json:"autoAssign"`
		AvoidBuggyIPs     bool        `json:"avoidBuggyIPs"`
		ServiceAllocation *allocation `json:"serviceAllocation"`
	}
	allocation struct {
		Priority           int        `json:"priority"`
		Namespaces         []string   `json:"namespaces"`
		NamespaceSelectors []selector `json:"namespaceSelectors"`
		ServiceSelectors   []selector `json:"serviceSelectors"`
	}
	peerSpec struct {
		MyASN                  uint32     `json:"myASN"`
		ASN                    uint32     `json:"peerASN"`
		DynamicASN             string     `json:"dynamicASN"`
		LocalASN               uint32     `json:"localASN"`
		Address                string     `json:"peerAddress"`
		Interface              string     `json:"interface"`
		SourceAddress          string     `json:"sourceAddress"`
		Port                   uint16     `json:"peerPort"`
		HoldTime               string     `json:"holdTime"`
		KeepaliveTime          string     `json:"keepaliveTime"`
		ConnectTime            string     `json:"connectTime"`
		RouterID               string     `json:"routerID"`
		NodeSelectors          []selector `json:"nodeSelectors"`
		Password               string     `json:"password"`
		PasswordSecret         secret     `json:"passwordSecret"`
		BFDProfile             string     `json:"bfdProfile"`
		EnableGracefulRestart  bool       `json:"enableGracefulRestart"`
		EBGPMultiHop           bool       `json:"ebgpMultiHop"`
		VRF                    string     `json:"vrf"`
		DisableMP              bool       `json:"disableMP"`
		DualStackAddressFamily bool       `json:"dualStackAddressFamily"`
	}
	secret struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	bgpSpec struct {
		selection
		AggregationLength   *int     `json:"aggregationLength"`
		AggregationLengthV6 *int     `json:"aggregationLengthV6"`
		LocalPref           uint32   `json:"localPref"`
		ASPathPrepend       int      `json:"asPathPrepend"`
		Communities         []string `json:"communities"`
		Peers               []string `json:"peers"`
	}
	l2Spec struct {
		selection
		Interfaces []string        `json:"interfaces"`
		Preferred  json.RawMessage `json:"preferredNodeSelectors"`
	}
	// selection is what both kinds of advertisement have.
	selection struct {
		Pools            []string   `json:"ipAddressPools"`
		PoolSelectors    []selector `json:"ipAddressPoolSelectors"`
		NodeSelectors    []selector `json:"nodeSelectors"`
		ServiceSelectors []selector `json:"serviceSelectors"`
	}
	bfdSpec struct {
		ReceiveInterval  *int  `json:"receiveInterval"`
		TransmitInterval *int  `json:"transmitInterval"`
		DetectMultiplier *int  `json:"detectMultiplier"`
		EchoInterval     *int  `json:"echoInterval"`
		EchoMode         *bool `json:"echoMode"`
		PassiveMode      *bool `json:"passiveMode"`
		MinimumTTL       *int  `json:"minimumTtl"`
	}
	communitySpec struct {
		Communities []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"communities"`
	}
)

// read sorts the objects of a text by kind: YAML or JSON documents, and lists of
// them, as kubectl prints them. What is not MetalLB's is passed over.
func (m *migration) read(text []byte) error {
	r := yaml.NewDecoder(bytes.NewReader(text))
	for n := 1; ; n++ {
		var document any
		err := r.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var object []byte
		if err == nil {
			object, err = json.Marshal(document)
		}
		if err == nil {
			err = m.take(object)
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", n, err)
		}
	}
}

// document is any object of the Kubernetes API, or a list.
type document struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec  json.RawMessage   `json:"spec"`
	Items []json.RawMessage `json:"items"`
}

func (m *migration) take(text []byte) (err error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	for _, item := range d.Items {
		if err := m.take(item); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(d.APIVersion, Group+"/") {
		return nil
	}
	o := &m.from
	switch d.Kind {
	case "IPAddressPool":
		o.pools, err = add(m, o.pools, d)
	case "BGPPeer":
		o.peers, err = add(m, o.peers, d)
	case "BGPAdvertisement":
		o.bgp, err = add(m, o.bgp, d)
	case "L2Advertisement":
		o.l2, err = add(m, o.l2, d)
	case "BFDProfile":
		o.bfd, err = add(m, o.bfd, d)
	case "Community":
		o.communities, err = add(m, o.communities, d)
	case "AddressPool":
		return fmt.Errorf("AddressPool %s: MetalLB 0.13 replaced this kind; write it as an IPAddressPool and advertisements first", d.Metadata.Name)
	}
	return err
}

// add puts an object into its place among those of its kind.
func add[T any](m *migration, list []object[T], d document) ([]object[T], error) {
	o := object[T]{name: d.Metadata.Name, labels: d.Metadata.Labels}
	at, found := slices.BinarySearchFunc(list, o.name, func(o object[T], name string) int { return strings.Compare(o.name, name) })
	if found {
		return list, fmt.Errorf("%s %s is there twice", d.Kind, o.name)
	}
	if len(d.Spec) > 0 {
		if err := json.Unmarshal(d.Spec, &o.spec); err != nil {
			return list, fmt.Errorf("%s %s: spec: %w", d.Kind, o.name, err)
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(d.Spec, &keys); err != nil {
			return list, fmt.Errorf("%s %s: spec: %w", d.Kind, o.name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if !fields(reflect.TypeOf(o.spec))[key] {
				m.note(d.Kind, o.name, key, "this program does not know it; what it says is lost")
			}
		}
	}
	return slices.Insert(list, at, o), nil
}

// fields are the keys that a spec has.
func fields(t reflect.Type) map[string]bool {
	out := map[string]bool{}
	for _, f := range reflect.VisibleFields(t) {
		if tag := f.Tag.Get("json"); tag != "" {
			out[tag] = true
		}
	}
	return out
}
