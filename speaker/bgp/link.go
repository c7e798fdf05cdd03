package bgp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// An unnumbered session is with the one router of a link. The two find each other
// by router advertisements (RFC 4861), as FRR and others do: we take the address
// from the router's, and it takes ours from one that says that this node is no
// default router. Other nodes on the link see that one too. They must not take
// this node for the router, which may also be no default router, so it has a mark.

// advertiseEvery is how often this node advertises itself on such a link. A router
// that was restarted learns of it that soon.
const advertiseEvery = 5 * time.Second

// listenOnLinks listens on the links of unnumbered sessions, and on no others.
func (s *speaker) listenOnLinks(want map[string]*session) {
	links := map[string]bool{}
	for _, w := range want {
		if !w.Address.IsValid() && !w.Range.IsValid() {
			links[w.Interface] = true
		}
	}
	for name, stop := range s.found.links {
		if !links[name] {
			stop()
			delete(s.found.links, name)
			delete(s.found.onLink, name)
			delete(s.found.faults, name)
		}
	}
	for name := range links {
		if s.found.links[name] == nil {
			ctx, stop := context.WithCancel(context.Background())
			s.found.links[name] = stop
			go s.findRouter(ctx, name)
		}
	}
}

// routerOn takes note of the router of a link.
func (s *speaker) routerOn(link string, router netip.Addr) error {
	if s.found.links[link] == nil || s.found.onLink[link] == router {
		return nil
	}
	s.log.Info("bgp router found", "interface", link, "address", router)
	s.found.onLink[link] = router
	return s.apply(s.table)
}

// linkFault takes note of why no router can be found on a link, and says so where
// one is waited for. nil: one can.
func (s *speaker) linkFault(link string, fault error) error {
	if s.found.links[link] == nil || fault == nil && s.found.faults[link] == nil {
		return nil
	}
	s.found.faults[link] = fault
	var errs []error
	for _, p := range sorted(s.peers) {
		if p.Interface == link && !p.Address.IsValid() {
			errs = append(errs, s.addPeer(p))
		}
	}
	return errors.Join(errs...)
}

// findRouter looks for routers on a link until ctx ends. The link may come and go.
func (s *speaker) findRouter(ctx context.Context, link string) {
	for ctx.Err() == nil {
		if err := s.listenOnce(ctx, link); err != nil && ctx.Err() == nil {
			s.log.Debug("no router advertisements", "interface", link, "err", err)
			s.send(event{link: link, linkErr: notFound(link, err)})
		}
		select {
		case <-ctx.Done():
		case <-s.ended:
			return
		case <-time.After(time.Second):
		}
	}
}

// listenOnce listens and advertises until something fails or nobody wants it.
func (s *speaker) listenOnce(ctx context.Context, link string) error {
	conn, own, err := openLink(link)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	buffer := make([]byte, 1500)
	for next := time.Now(); ctx.Err() == nil; {
		if !time.Now().Before(next) {
			if err := advertise(conn); err != nil {
				return fmt.Errorf("advertise: %w", err)
			}
			s.send(event{link: link}) // whatever was wrong before
			next = time.Now().Add(advertiseEvery)
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, control, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		// 255: it was sent on this very link (RFC 4861 section 6.1.2).
		if n < headLen || control == nil || control.HopLimit != 255 || marked(buffer[:n]) {
			continue
		}
		if addr, err := netip.ParseAddr(from.String()); err == nil && addr.WithZone("") != own && addr.IsLinkLocalUnicast() {
			s.send(event{link: link, router: addr.WithZone("")})
		}
	}
	return nil
}

// notFound says why no router can be found on a link, and what that takes.
func notFound(link string, err error) error {
	hint := ""
	if errors.Is(err, fs.ErrPermission) {
		hint = ": it takes the capability NET_RAW, which manifests/overlays/layer2 and full give"
	}
	return fmt.Errorf("cannot listen for router advertisements on %s: %w%s", link, err, hint)
}

// openLink opens a socket for router advertisements on a link.
func openLink(name string) (*ipv6.PacketConn, netip.Addr, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	own, err := linkLocalOf(link)
	if err != nil {
		return nil, own, err
	}
	socket, err := icmp.ListenPacket("ip6:ipv6-icmp", own.WithZone(name).String())
	if err != nil {
		return nil, own, err
	}
	conn := socket.IPv6PacketConn()
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeRouterAdvertisement)
	for _, err := range []error{
		conn.SetICMPFilter(&only), conn.SetControlMessage(ipv6.FlagHopLimit, true), conn.SetMulticastHopLimit(255),
		conn.SetMulticastInterface(link), conn.SetMulticastLoopback(false), conn.JoinGroup(link, &net.IPAddr{IP: net.IPv6linklocalallnodes}),
	} {
		if err != nil {
			_ = socket.Close()
			return nil, own, err
		}
	}
	return conn, own, nil
}

func linkLocalOf(link *net.Interface) (netip.Addr, error) {
	addrs, err := link.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no link-local address", link.Name)
}

// advertise says that this node is there, and asks who else is.
func advertise(conn *ipv6.PacketConn) error {
	if _, err := conn.WriteTo(advertisement(), nil, &net.IPAddr{IP: net.IPv6linklocalallnodes}); err != nil {
		return err
	}
	solicitation := make([]byte, 8)
	solicitation[0] = byte(ipv6.ICMPTypeRouterSolicitation)
	_, err := conn.WriteTo(solicitation, nil, &net.IPAddr{IP: net.IPv6linklocalallrouters})
	return err
}

// headLen is the length of a router advertisement without options.
const headLen = 16

// mark is an option of type 253, which is for experiments (RFC 4727). Receivers
// skip options that they do not know (RFC 4861 section 4.6).
var mark = []byte{253, 1, 'h', 'e', 'r', 'a', 'l', 'd'}

// advertisement makes this node no default router: the lifetime, bytes 6 and 7,
// is 0.
func advertisement() []byte {
	m := make([]byte, headLen, headLen+len(mark))
	m[0] = byte(ipv6.ICMPTypeRouterAdvertisement)
	return append(m, mark...)
}

// marked tells whether a router advertisement is a node's.
func marked(m []byte) bool {
	for options := m[headLen:]; len(options) >= 8; {
		n := int(options[1]) * 8
		if n == 0 || n > len(options) {
			return false
		}
		if bytes.Equal(options[:n], mark) {
			return true
		}
		options = options[n:]
	}
	return false
}
