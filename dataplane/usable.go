package dataplane

import (
	"net/netip"
	"path"
	"slices"
	"strings"
)

// Selection asks for links that can carry an address at layer 2.
type Selection struct {
	Addr    netip.Addr // of the Service
	Include []string   // names or patterns such as eth* and bond?; empty: every link with a prefix that contains Addr
	Exclude []string   // names or patterns; wins over Include
}

// Verdict says whether a link can carry an address, or why not.
type Verdict string

// All verdicts. The first that holds is given.
const (
	Fits         Verdict = ""
	Excluded     Verdict = "excluded by name"
	NotIncluded  Verdict = "not included by name"
	IsLoopback   Verdict = "loopback"
	NoNeighbours Verdict = "not Ethernet"
	IsPort       Verdict = "port of another link, which carries it"
	Internal     Verdict = "belongs to pods or tunnels"
	OtherSubnet  Verdict = "no prefix contains the address"
	IsDown       Verdict = "down"
	NoCarrier    Verdict = "no carrier"
)

// Usable returns the links that can carry the address, in their order.
func Usable(links []Link, want Selection) []Link {
	var out []Link
	for _, l := range links {
		if want.Judge(l) == Fits {
			out = append(out, l)
		}
	}
	return out
}

// Judge tells whether a link can carry the address. What changes by itself comes
// last, so that a person reads "no carrier" only of a link that would do.
func (s Selection) Judge(l Link) Verdict {
	switch {
	case matches(s.Exclude, l.Name):
		return Excluded
	case len(s.Include) > 0 && !matches(s.Include, l.Name):
		return NotIncluded
	case l.Loopback:
		return IsLoopback
	case !l.Ethernet:
		return NoNeighbours
	case l.isPort():
		return IsPort
	case l.isInternal() && !slices.Contains(s.Include, l.Name):
		return Internal
	case len(s.Include) == 0 && !l.contains(s.Addr):
		return OtherSubnet
	case !l.Up:
		return IsDown
	case !l.Carrier:
		return NoCarrier
	}
	return Fits
}

// isPort: a VRF is a master too, but its members send and receive by themselves.
func (l Link) isPort() bool { return l.Master != "" && l.MasterKind != "vrf" }

// internalKinds have no segment behind them on which a client could be.
var internalKinds = []string{"dummy", "ifb", "vxlan", "geneve", "nlmon", "netdevsim", "ipvlan", "ipvtap", "macvtap", "netkit"}

// internalNames are those that pod networks, container engines and hypervisors
// give. They are usable only by their full name in Include.
var internalNames = []string{
	"antrea-*", "br-int", "cali*", "cilium_*", "cni*", "cni-podman*", "docker*", "flannel*", "genev_sys_*", "kube-*", "lxc*",
	"lxdbr*", "nodelocaldns", "ovn-k8s-*", "ovs-system", "podman*", "tap*", "veth*", "virbr*", "vnet*", "vxlan*", "weave*",
}

func (l Link) isInternal() bool {
	return slices.Contains(internalKinds, l.Kind) || matches(internalNames, l.Name)
}

// contains leaves out prefixes of one address: nobody else lives in them.
func (l Link) contains(a netip.Addr) bool {
	return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return !p.IsSingleIP() && p.Contains(a) })
}

// Holders returns the names of the links that have the address itself. While a
// link has it, the host's own kernel answers for it.
func Holders(links []Link, a netip.Addr) []string {
	var out []string
	for _, l := range links {
		if slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() == a }) {
			out = append(out, l.Name)
		}
	}
	return out
}

// ValidPattern tells whether a pattern can be used in a Selection.
func ValidPattern(p string) bool {
	_, err := path.Match(p, "")
	return err == nil && p != "" && !strings.ContainsAny(p, "/ \t")
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name)
		return ok
	})
}
