package l2

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// groups are the IPv6 multicast groups that one link has joined for us. A join
// makes the interface accept the frames, and the kernel report the group to
// switches that look for members (MLD); a packet socket's membership would not
// do the latter.
//
// The kernel limits the groups of a socket by net.core.optmem_max: 2,340 today,
// some 365 before 6.6. So there are as many sockets as it takes.
type groups struct {
	index   int // of the link
	joined  map[[16]byte]*members
	sockets []*members
}

// members is a socket that is a member of n groups. It is bound to no port, so
// nothing is ever queued on it.
type members struct{ fd, n int }

// set makes the membership equal to the groups that belong to the addresses.
// After an error call it again.
func (g *groups) set(addrs map[[16]byte][]byte) error {
	want := make(map[[16]byte]struct{}, len(addrs))
	for a := range addrs {
		want[solicitedNode(a)] = struct{}{}
	}
	for group, m := range g.joined {
		if _, ok := want[group]; !ok {
			g.leave(group, m)
		}
	}
	for group := range want {
		if g.joined[group] != nil {
			continue
		}
		// What fails for one fails for all: the link has no IPv6, or is gone.
		if err := g.join(group); err != nil {
			return err
		}
	}
	return nil
}

func (g *groups) join(group [16]byte) error {
	// The newest socket has room, if any has.
	var err error = unix.ENOMEM
	if n := len(g.sockets); n > 0 {
		err = g.sockets[n-1].add(g.index, group)
	}
	if errors.Is(err, unix.ENOMEM) {
		if err = g.open(); err == nil {
			err = g.sockets[len(g.sockets)-1].add(g.index, group)
		}
	}
	if err != nil {
		return fmt.Errorf("join %v: %w", netip.AddrFrom16(group), err)
	}
	if g.joined == nil {
		g.joined = map[[16]byte]*members{}
	}
	g.joined[group] = g.sockets[len(g.sockets)-1]
	return nil
}

func (g *groups) open() error {
	if n := len(g.sockets); n > 0 && g.sockets[n-1].n == 0 {
		return unix.ENOMEM // not even one group fits: another socket is no help
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	g.sockets = append(g.sockets, &members{fd: fd})
	return nil
}

func (m *members) add(index int, group [16]byte) error {
	err := unix.SetsockoptIPv6Mreq(m.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
		&unix.IPv6Mreq{Multiaddr: group, Interface: uint32(index)})
	if err == nil {
		m.n++
	}
	return err
}

// leave leaves a group. It cannot fail in a way that matters: at worst the
// interface hears a group too many until the link is closed.
func (g *groups) leave(group [16]byte, m *members) {
	_ = unix.SetsockoptIPv6Mreq(m.fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP,
		&unix.IPv6Mreq{Multiaddr: group, Interface: uint32(g.index)})
	delete(g.joined, group)
	m.n--
	if last := len(g.sockets) - 1; m.n == 0 && m != g.sockets[last] {
		unix.Close(m.fd)
		g.sockets = slices.DeleteFunc(g.sockets, func(o *members) bool { return o == m })
	}
}

// close leaves all groups.
func (g *groups) close() {
	for _, m := range g.sockets {
		unix.Close(m.fd)
	}
	*g = groups{}
}
