package dataplane

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What an Overlay has unless told otherwise. The port is nobody's: 4789 and 8472
// are other people's VXLAN.
const (
	OverlayLink = "herald-vx"
	OverlayVNI  = 0x4865
	OverlayPort = 4793
)

// OverlaySpec is a VXLAN among nodes of several subnets, by which Rescue's copies
// reach peers that are on no segment of this host.
type OverlaySpec struct {
	Local netip.Addr   // this node's, as the others know it
	Peers []netip.Addr // other nodes', in Local's family
	Link  string       // empty: OverlayLink
	VNI   int          // zero: OverlayVNI
	Port  uint16       // zero: OverlayPort
}

func (s OverlaySpec) withDefaults() OverlaySpec {
	s.Link, s.VNI, s.Port = cmp.Or(s.Link, OverlayLink), cmp.Or(s.VNI, OverlayVNI), cmp.Or(s.Port, OverlayPort)
	return s
}

// Rescue is what RescueSpec wants to know of it.
func (s OverlaySpec) Rescue() RescueOverlay {
	s = s.withDefaults()
	return RescueOverlay{Link: s.Link, Port: s.Port}
}

// Peer is a node as a peer over the overlay. Nothing about it has to be asked for:
// its addresses in there follow from the node's.
func (s OverlaySpec) Peer(name string, node netip.Addr) RescuePeer {
	mac := overlayMAC(node)
	return RescuePeer{Name: name, IPv4: overlayHop(node), IPv6: linkLocal(mac), MAC: mac, Link: s.withDefaults().Link, Tunnel: node}
}

// overlayHop is a next hop that nobody else has: of the reserved 240.0.0.0/4, with
// the low bits of the node's address, so that 10.0.0.7 becomes 250.0.0.7. The
// node's own address will not do: the kernel sends a copy to a next hop only where
// a route for that one leads to the link, and such a route would take the node's
// other traffic along.
func overlayHop(node netip.Addr) netip.Addr {
	var hop [4]byte
	if node.Is4() {
		hop = node.As4()
	} else {
		sum := sha256.Sum256(node.AsSlice())
		hop = [4]byte(sum[:])
	}
	hop[0] |= 0xf0
	return netip.AddrFrom4(hop)
}

// overlayMAC is the one of a node's end, locally administered.
func overlayMAC(node netip.Addr) net.HardwareAddr {
	sum := sha256.Sum256(append([]byte("herald overlay "), node.AsSlice()...))
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

// linkLocal is the address that RFC 4291 derives from a MAC.
func linkLocal(m net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// Overlay keeps the device of an OverlaySpec.
type Overlay struct{ log *slog.Logger }

// NewOverlay makes one for the network namespace in which it will be used.
func NewOverlay(log *slog.Logger) *Overlay {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Overlay{log: log}
}

// Set makes the device what the spec says, and its static neighbours the peers.
// Rescue's tables should be there first, since they let nothing out of it but
// copies from peers.
func (o *Overlay) Set(ctx context.Context, spec OverlaySpec) error {
	spec = spec.withDefaults()
	if err := o.set(ctx, spec); err != nil {
		return fmt.Errorf("overlay %s: %w", spec.Link, err)
	}
	return nil
}

// Remove removes the device.
func (o *Overlay) Remove(_ context.Context, spec OverlaySpec) error {
	spec = spec.withDefaults()
	l, err := overlayLink(spec.Link)
	if err == nil && l != nil {
		err = netlink.LinkDel(l)
	}
	if err != nil {
		return fmt.Errorf("overlay %s: remove: %w", spec.Link, err)
	}
	return nil
}

func (o *Overlay) set(ctx context.Context, spec OverlaySpec) error {
	want, err := spec.device(ctx)
	if err != nil {
		return err
	}
	have, err := overlayLink(spec.Link)
	if err != nil {
		return err
	}
	if have != nil && !sameOverlay(have, want) {
		if err := netlink.LinkDel(have); err != nil {
			return fmt.Errorf("remove the one with other settings: %w", err)
		}
		have = nil
	}
	if have == nil {
		if err := netlink.LinkAdd(want); err != nil {
			return fmt.Errorf("add the VXLAN device: %w", err)
		}
		o.log.Info("overlay made", "link", spec.Link, "local", spec.Local, "mtu", want.MTU)
		if have, err = overlayLink(spec.Link); err != nil || have == nil {
			return errors.Join(err, errors.New("it is gone again"))
		}
	}
	if have.MTU != want.MTU {
		if err := netlink.LinkSetMTU(have, want.MTU); err != nil {
			return fmt.Errorf("set the MTU to %d: %w", want.MTU, err)
		}
	}
	if err := tolerate(have); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(have); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return errors.Join(addLinkLocal(have), spec.routes(have.Index), spec.neighbours(have.Index))
}

// device is the one that the spec wants.
func (s OverlaySpec) device(ctx context.Context) (*netlink.Vxlan, error) {
	for _, p := range s.Peers {
		if p.Is6() != s.Local.Is6() {
			return nil, fmt.Errorf("peer %s is of another family than %s", p, s.Local)
		}
	}
	mtu, err := mtuOf(ctx, s.Local)
	if err != nil {
		return nil, err
	}
	// Ethernet, VXLAN and UDP, and the outer header.
	overhead := 14 + 8 + 8 + 20
	if s.Local.Is6() {
		overhead += 20
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = s.Link, mtu-overhead, overlayMAC(s.Local)
	return &netlink.Vxlan{LinkAttrs: attrs, VxlanId: s.VNI, SrcAddr: s.Local.AsSlice(), Port: int(s.Port), UDPCSum: true}, nil
}

// mtuOf is that of the link that has an address.
func mtuOf(ctx context.Context, addr netip.Addr) (int, error) {
	links, err := list(ctx)
	if err != nil {
		return 0, err
	}
	for _, l := range links {
		if slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() == addr }) {
			return l.MTU, nil
		}
	}
	return 0, fmt.Errorf("no link of this host has %s", addr)
}

// overlayLink finds our device. nil: there is none.
func overlayLink(name string) (*netlink.Vxlan, error) {
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, ok := l.(*netlink.Vxlan)
	if !ok {
		return nil, fmt.Errorf("there is such a link, of kind %s, which is not ours", l.Type())
	}
	return v, nil
}

func sameOverlay(a, b *netlink.Vxlan) bool {
	return a.VxlanId == b.VxlanId && a.Port == b.Port && a.SrcAddr.Equal(b.SrcAddr) && a.Learning == b.Learning &&
		slices.Equal(a.HardwareAddr, b.HardwareAddr)
}

// tolerate has the kernel take packets out of the overlay whose sender it would
// not look for there: clients. The larger of the link's rp_filter and everybody's
// counts: 0 looks for nothing, 2 (loose) takes who can be reached by any link, but
// only on a link that has an address.
func tolerate(l netlink.Link) error {
	name := l.Attrs().Name
	all, err := rpFilter("all")
	if err != nil {
		return err
	}
	own, err := rpFilter(name)
	if err != nil {
		return err
	}
	wish := 0
	if all > 0 {
		wish = 2
	}
	// One that is too loose does no harm.
	if max(all, own) == 1 {
		if err := os.WriteFile(rpFilterFile(name), []byte(strconv.Itoa(wish)), 0o644); err != nil {
			return fmt.Errorf("net.ipv4.conf.%s.rp_filter is 1 (strict) and cannot be set from here, so the kernel would drop clients' packets that peers send; "+
				"set net.ipv4.conf.default.rp_filter=%d on the host: %w", name, wish, err)
		}
		own = wish
	}
	if max(all, own) == 0 {
		return nil
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: looseAddr, Mask: net.CIDRMask(32, 32)}, Scope: unix.RT_SCOPE_LINK}
	if err := netlink.AddrReplace(l, addr); err != nil {
		return fmt.Errorf("add %s: %w", addr.IPNet, err)
	}
	return nil
}

// looseAddr is link-local and nobody speaks to it, so all nodes may have it.
var looseAddr = net.IPv4(169, 254, 72, 101).To4()

func rpFilterFile(link string) string {
	return filepath.Join("/proc/sys/net/ipv4/conf", link, "rp_filter")
}

func rpFilter(link string) (int, error) {
	text, err := os.ReadFile(rpFilterFile(link))
	if err != nil {
		return 0, fmt.Errorf("look up rp_filter: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// addLinkLocal makes peers' link-local addresses reachable at once, without a
// detection of duplicates. A host without IPv6 needs none.
func addLinkLocal(l netlink.Link) error {
	if text, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + l.Attrs().Name + "/disable_ipv6"); err != nil || strings.TrimSpace(string(text)) != "0" {
		return nil //nolint:nilerr // no file: no IPv6
	}
	addr := &netlink.Addr{
		IPNet: &net.IPNet{IP: linkLocal(l.Attrs().HardwareAddr).AsSlice(), Mask: net.CIDRMask(64, 128)},
		Flags: unix.IFA_F_NODAD,
	}
	if err := netlink.AddrReplace(l, addr); err != nil {
		return fmt.Errorf("add %s: %w", addr.IPNet, err)
	}
	return nil
}

// routes makes our routes into the device those to the peers' IPv4 hops. Those to
// link-local addresses are there by themselves.
func (s OverlaySpec) routes(link int) error {
	have, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: link, Protocol: aliasProtocol}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	var errs []error
	for _, node := range s.Peers {
		hop := net.IP(overlayHop(node).AsSlice())
		if i := slices.IndexFunc(have, func(r netlink.Route) bool { return r.Dst != nil && r.Dst.IP.Equal(hop) }); i >= 0 {
			have = slices.Delete(have, i, i+1)
			continue
		}
		r := &netlink.Route{
			LinkIndex: link, Dst: &net.IPNet{IP: hop, Mask: net.CIDRMask(32, 32)}, Scope: netlink.SCOPE_LINK, Protocol: aliasProtocol,
		}
		if err := netlink.RouteReplace(r); err != nil {
			errs = append(errs, fmt.Errorf("add the route to %s: %w", hop, err))
		}
	}
	for _, r := range have {
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove the route to %s: %w", r.Dst, err))
		}
	}
	return errors.Join(errs...)
}

// neighbours makes the device's static entries those of the peers: which MAC an
// address has, and behind which node a MAC is.
func (s OverlaySpec) neighbours(link int) error {
	want := s.entries(link)
	var have []netlink.Neigh
	for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE} {
		list, err := netlink.NeighList(link, family)
		if err != nil {
			return fmt.Errorf("list neighbours: %w", err)
		}
		have = append(have, list...)
	}
	var errs []error
	for _, h := range have {
		stale := h.State&netlink.NUD_PERMANENT != 0 && !slices.ContainsFunc(want, func(w netlink.Neigh) bool { return sameEntry(h, w) })
		if stale && !h.IP.IsMulticast() {
			if err := netlink.NeighDel(&h); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("remove neighbour %s: %w", h.IP, err))
			}
		}
	}
	for _, w := range want {
		if slices.ContainsFunc(have, func(h netlink.Neigh) bool { return sameEntry(h, w) }) {
			continue
		}
		if err := netlink.NeighSet(&w); err != nil {
			errs = append(errs, fmt.Errorf("add neighbour %s at %s: %w", w.IP, w.HardwareAddr, err))
		}
	}
	return errors.Join(errs...)
}

func sameEntry(a, b netlink.Neigh) bool {
	bridge := func(n netlink.Neigh) bool { return n.Family == unix.AF_BRIDGE }
	return bridge(a) == bridge(b) && a.IP.Equal(b.IP) && slices.Equal(a.HardwareAddr, b.HardwareAddr)
}

func (s OverlaySpec) entries(link int) []netlink.Neigh {
	var out []netlink.Neigh
	for _, node := range s.Peers {
		p := s.Peer("", node)
		out = append(out, netlink.Neigh{
			LinkIndex: link, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT,
			IP: node.AsSlice(), HardwareAddr: p.MAC,
		})
		for _, hop := range []netip.Addr{p.IPv4, p.IPv6} {
			out = append(out, netlink.Neigh{LinkIndex: link, State: netlink.NUD_PERMANENT, IP: hop.AsSlice(), HardwareAddr: p.MAC})
		}
	}
	return out
}
