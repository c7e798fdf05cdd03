// Package migrate turns what another load balancer is configured by into a
// configuration of Herald. It is pure: text in, text and notes out.
//
// Read MetalLB first, then the function of each kind in the order in which it calls
// them. objects.go reads MetalLB's objects, output.go has the text that comes out.
package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/internal/config"
)

// A Note is something of the source that has no equal, or that takes a step by hand.
type Note struct {
	Object string // its kind and name
	Field  string // within spec; may be empty
	Text   string
}

func (n Note) String() string {
	if n.Field == "" {
		return n.Object + ": " + n.Text
	}
	return n.Object + ": " + n.Field + ": " + n.Text
}

// Result is what came of a migration.
type Result struct {
	YAML     []byte
	Notes    []Note
	Problems config.Problems // faults of YAML, if it has any
}

// ErrNothing: the text holds no object of MetalLB.
var ErrNothing = errors.New("no object of metallb.io is in it")

type migration struct {
	from  objects
	to    configuration
	notes []Note

	peerNames map[string][]string // names in Herald, by that of the BGPPeer
}

func (m *migration) note(kind, name, field, text string) {
	m.notes = append(m.notes, Note{Object: kind + " " + name, Field: field, Text: text})
}

// MetalLB reads IPAddressPools, BGPPeers, BGPAdvertisements, L2Advertisements,
// BFDProfiles and Communities, as `kubectl get -o yaml` prints them.
func MetalLB(text []byte) (Result, error) {
	m := &migration{peerNames: map[string][]string{}, to: configuration{APIVersion: config.APIVersion, Compatibility: "metallb"}}
	if err := m.read(text); err != nil {
		return Result{}, err
	}
	if m.from.count() == 0 {
		return Result{}, ErrNothing
	}
	m.pools()
	m.bfdProfiles()
	m.peers()
	m.advertisements()
	r := Result{YAML: m.to.text(), Notes: m.notes}
	_, _, err := config.Examine(r.YAML)
	if err != nil && !errors.As(err, &r.Problems) {
		return Result{}, err
	}
	return r, nil
}

// name makes a name of Herald's, a label of RFC 1123, of an object's name, which may
// have dots.
func (m *migration) name(kind, name string) string {
	out := strings.ReplaceAll(name, ".", "-")
	if out != name {
		m.note(kind, name, "metadata.name", "it is called "+out+" now: a name in Herald has no dots")
	}
	return out
}

// pools makes a pool of each IPAddressPool, and finds out how it is announced.
func (m *migration) pools() {
	priorities := m.priorities()
	for _, p := range m.from.pools {
		const kind = "IPAddressPool"
		out := pool{Name: m.name(kind, p.name), AutoAssign: p.spec.AutoAssign, AvoidBuggyIPs: p.spec.AvoidBuggyIPs, Sharing: "acrossNamespaces", Priority: priorities[p.name]}
		if out.AutoAssign != nil && *out.AutoAssign {
			out.AutoAssign = nil
		}
		for _, a := range p.spec.Addresses {
			out.Ranges = append(out.Ranges, addressRange(a))
		}
		if a := p.spec.ServiceAllocation; a != nil {
			out.Namespaces = a.Namespaces
			out.NamespaceSelector = m.one(p.name, "namespaceSelectors", a.NamespaceSelectors, &out)
			out.ServiceSelector = m.one(p.name, "serviceSelectors", a.ServiceSelectors, &out)
		}
		m.announce(p, &out)
		m.to.Pools = append(m.to.Pools, out)
	}
	if len(m.from.pools) == 0 {
		m.notes = append(m.notes, Note{Object: "IPAddressPool", Text: "there is none, so the configuration has no pool, and Herald refuses it"})
	}
}

// one is the selector of a list of which one must match, if the list can be written
// so. Else the pool is for those who ask for it alone, until a person has chosen.
func (m *migration) one(name, field string, list []selector, out *pool) *selector {
	s := either(list)
	switch len(s) {
	case 0:
		return nil
	case 1:
		return &s[0]
	}
	m.note("IPAddressPool", name, "serviceAllocation."+field, "Herald has one selector there, and these cannot be written as one. Until you choose no Service gets an address of the pool unasked")
	no := false
	out.AutoAssign = &no
	return nil
}

// priorities turns MetalLB's around. There the least number comes first, 0 comes
// after all others, and a pool for certain Services comes before those for all.
func (m *migration) priorities() map[string]int {
	var ranks []int
	for _, p := range m.from.pools {
		if a := p.spec.ServiceAllocation; a != nil && a.Priority > 0 && !slices.Contains(ranks, a.Priority) {
			ranks = append(ranks, a.Priority)
		}
	}
	slices.SortFunc(ranks, func(a, b int) int { return cmp.Compare(b, a) })
	out := map[string]int{}
	for _, p := range m.from.pools {
		a := p.spec.ServiceAllocation
		switch {
		case a == nil:
		case a.Priority > 0:
			out[p.name] = slices.Index(ranks, a.Priority) + 2
		case len(a.Namespaces)+len(a.NamespaceSelectors)+len(a.ServiceSelectors) > 0:
			out[p.name] = 1
		}
	}
	return out
}

// addressRange is a prefix or a range as Herald writes it: MetalLB takes bits after a
// prefix and blanks around a dash.
func addressRange(text string) string {
	if from, to, ok := strings.Cut(text, "-"); ok {
		return strings.TrimSpace(from) + "-" + strings.TrimSpace(to)
	}
	if p, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil {
		return p.Masked().String()
	}
	return text // Herald says what is wrong with it
}

// announce says how a pool's addresses get known: by those advertisements that select
// the pool.
func (m *migration) announce(p object[poolSpec], out *pool) {
	var bgp, l2 []string
	var nodes []selector
	all, everywhere := false, false
	for _, a := range m.from.bgp {
		if a.spec.selects(p) {
			bgp = append(bgp, a.name)
		}
	}
	for _, a := range m.from.l2 {
		if !a.spec.selects(p) {
			continue
		}
		l2 = append(l2, a.name)
		if len(a.spec.ServiceSelectors) > 0 {
			m.note("L2Advertisement", a.name, "serviceSelectors", "Herald answers for all addresses of a pool: put the other Services' into another pool than "+out.Name)
		}
		if len(a.spec.Preferred) > 0 {
			m.note("L2Advertisement", a.name, "preferredNodeSelectors", "Herald spreads the addresses of "+out.Name+" over all nodes that may own them")
		}
		all = all || len(a.spec.NodeSelectors) == 0
		nodes = append(nodes, a.spec.NodeSelectors...)
		everywhere = everywhere || len(a.spec.Interfaces) == 0
		for _, i := range a.spec.Interfaces {
			if !slices.Contains(out.Interfaces, i) {
				out.Interfaces = append(out.Interfaces, i)
			}
		}
	}
	if everywhere {
		out.Interfaces = nil
	}
	switch {
	case len(bgp) > 0 && len(l2) > 0:
		out.Announce = []string{"bgp", "l2"}
	case len(l2) > 0:
		out.Announce = []string{"l2"}
	case len(bgp) == 0:
		m.note("IPAddressPool", p.name, "", "no advertisement selects it: MetalLB announces it nowhere"+m.silent())
	}
	if len(l2) > 1 && (!all || !everywhere) {
		m.note("IPAddressPool", p.name, "", fmt.Sprintf("the L2Advertisements %s select it: their nodes and interfaces are put together", strings.Join(l2, ", ")))
	}
	if all {
		return
	}
	switch s := either(nodes); {
	case len(s) == 0:
	case len(s) > 1:
		m.note("L2Advertisement", l2[0], "nodeSelectors", "Herald has one selector for the nodes of a pool, and these cannot be written as one: every node may own the addresses of "+out.Name)
	case len(bgp) > 0:
		m.note("L2Advertisement", l2[0], "nodeSelectors", "in Herald the pool's `nodeSelector` would bind BGP as well: every node may own the addresses of "+out.Name)
	default:
		out.NodeSelector = &s[0]
	}
}

// silent says what becomes of a pool that MetalLB does not announce.
func (m *migration) silent() string {
	if len(m.from.bgp) > 0 || len(m.from.peers) == 0 {
		return ", and nor does Herald"
	}
	return ". Herald will, by BGP, until `advertisements` select others alone"
}

// selects tells whether an advertisement is for a pool.
func (s selection) selects(p object[poolSpec]) bool {
	if len(s.Pools)+len(s.PoolSelectors) == 0 || slices.Contains(s.Pools, p.name) {
		return true
	}
	return slices.ContainsFunc(s.PoolSelectors, func(s selector) bool { return s.matches(p.labels) })
}

func (m *migration) bfdProfiles() {
	for _, p := range m.from.bfd {
		const kind = "BFDProfile"
		out := bfdProfile{Name: m.name(kind, p.name)}
		if p.spec.ReceiveInterval != nil {
			out.ReceiveInterval = fmt.Sprintf("%dms", *p.spec.ReceiveInterval)
		}
		if p.spec.TransmitInterval != nil {
			out.TransmitInterval = fmt.Sprintf("%dms", *p.spec.TransmitInterval)
		}
		if p.spec.DetectMultiplier != nil {
			out.DetectMultiplier = *p.spec.DetectMultiplier
		}
		if p.spec.EchoMode != nil && *p.spec.EchoMode {
			m.note(kind, p.name, "echoMode", "Herald sends no echo packets: control packets alone find a dead path, within receiveInterval times detectMultiplier")
		}
		if p.spec.PassiveMode != nil && *p.spec.PassiveMode {
			m.note(kind, p.name, "passiveMode", "Herald always begins; a router that begins as well does no harm")
		}
		if p.spec.MinimumTTL != nil {
			m.note(kind, p.name, "minimumTtl", "Herald takes 255 minus the peer's `ebgpMultihop` or `ttlSecurity`")
		}
		m.to.BFDProfiles = append(m.to.BFDProfiles, out)
	}
}

// peers makes a peer of each BGPPeer, or several of one whose lists of nodes cannot
// be written as one selector.
func (m *migration) peers() {
	if len(m.from.peers) == 0 {
		return
	}
	asn := m.commonASN()
	m.to.BGP = &bgp{ASN: asn}
	for _, p := range m.from.peers {
		m.peer(p, asn)
	}
}

// commonASN is the AS number that most peers see us with.
func (m *migration) commonASN() (best uint32) {
	count := map[uint32]int{}
	for _, p := range m.from.peers {
		if n := p.spec.MyASN; n != 0 {
			if count[n]++; count[n] > count[best] {
				best = n
			}
		}
	}
	return best
}

func (m *migration) peer(p object[peerSpec], ourASN uint32) {
	const kind = "BGPPeer"
	s := p.spec
	out := peer{
		Address: s.Address, Interface: s.Interface, SourceAddress: s.SourceAddress,
		HoldTime: m.duration(p.name, "holdTime", s.HoldTime), KeepaliveTime: m.duration(p.name, "keepaliveTime", s.KeepaliveTime),
		ConnectRetryTime: m.duration(p.name, "connectTime", s.ConnectTime), BFDProfile: strings.ReplaceAll(s.BFDProfile, ".", "-"),
	}
	switch s.DynamicASN {
	case "external":
		out.ASN = "external"
	case "internal":
		out.ASN = number(s.MyASN)
	default:
		out.ASN = number(s.ASN)
	}
	if own := cmp.Or(s.LocalASN, s.MyASN); own != ourASN {
		out.LocalASN = own
	}
	if s.Port != 179 {
		out.Port = s.Port
	}
	if s.EBGPMultiHop && s.ASN != s.MyASN && s.DynamicASN != "internal" {
		out.EBGPMultihop = 255
	}
	name := m.name(kind, p.name)
	const create = "kubectl -n herald-system create secret generic herald-bgp --from-literal="
	switch {
	case s.PasswordSecret.Name != "":
		out.PasswordKey = name
		m.note(kind, p.name, "passwordSecret", fmt.Sprintf("copy what key password of the Secret %s holds: %s%s=PASSWORD", s.PasswordSecret.Name, create, name))
	case s.Password != "":
		out.PasswordKey = name
		m.note(kind, p.name, "password", fmt.Sprintf("Herald reads passwords from a Secret alone: %s%s=PASSWORD", create, name))
	}
	if s.VRF != "" {
		m.note(kind, p.name, "vrf", "Herald's sessions are in the node's default VRF; this peer cannot be reached so")
	}
	if s.DisableMP {
		m.note(kind, p.name, "disableMP", "Herald sends both families over each session; a router that has one of them off takes the other")
	}
	selectors := either(s.NodeSelectors)
	for i, nodes := range eachOr(selectors) {
		out.Name, out.NodeSelector = name, nodes
		if len(selectors) > 1 {
			out.Name = fmt.Sprintf("%s-%d", name, i+1)
		}
		m.to.Peers = append(m.to.Peers, out)
		m.peerNames[p.name] = append(m.peerNames[p.name], out.Name)
	}
	if len(selectors) > 1 {
		m.note(kind, p.name, "nodeSelectors", fmt.Sprintf("they cannot be written as one, so the peer is there %d times; a node that several of them select has the first", len(selectors)))
	}
	switch {
	case s.RouterID == "":
	case len(selectors) == 1:
		m.to.BGP.Overrides = append(m.to.BGP.Overrides, override{NodeSelector: selectors[0], RouterID: s.RouterID})
	default:
		m.note(kind, p.name, "routerID", "a router ID must be another on each node (RFC 6286), and Herald takes the node's first IPv4 address; another one takes an entry in bgp.overrides")
	}
}

// duration is a duration as Herald writes it.
func (m *migration) duration(peer, field, text string) string {
	if text == "" {
		return ""
	}
	d, err := time.ParseDuration(text)
	if err != nil || d == 0 {
		m.note("BGPPeer", peer, field, fmt.Sprintf("%q is left out: Herald's default holds", text))
		return ""
	}
	return d.String()
}
