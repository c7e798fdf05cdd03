package bgp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/heraldlb/herald/speaker/plan"
)

// Some neighbors have to be found: routers of a range when they connect, and the
// router of a link when it advertises itself. gobgp's own ways to do so know no
// VRFs (ADR 8), so this package finds them, and tells gobgp of each by its
// address.

const (
	maxFound   = 64              // of one range; whoever can connect could fill our memory else
	forgetTime = 5 * time.Minute // after its session was lost
)

// found are the neighbors that were found.
type found struct {
	inRange map[string]map[netip.Addr]time.Time // by session: neighbor and when it was there last
	onLink  map[string]netip.Addr               // by interface
	groups  map[string]plan.Session             // gobgp's peer groups, which hold the passwords of ranges
	links   map[string]context.CancelFunc       // by interface: those that are listened on
	faults  map[string]error                    // by interface: why nothing can be found there
}

func newFound() found {
	return found{
		inRange: map[string]map[netip.Addr]time.Time{}, onLink: map[string]netip.Addr{},
		groups: map[string]plan.Session{}, links: map[string]context.CancelFunc{},
		faults: map[string]error{},
	}
}

// resolve puts sessions with the neighbors that were found in the place of those
// that stand for them.
func (f found) resolve(want map[string]*session) {
	for _, w := range sorted(want) {
		switch {
		case w.Range.IsValid():
			for addr := range f.inRange[w.Name] {
				one := *w
				one.Name, one.Address, one.Range = w.Name+" "+addr.String(), addr, netip.Prefix{}
				want[one.Name] = &one
			}
			delete(want, w.Name)
		case !w.Address.IsValid():
			if addr, ok := f.onLink[w.Interface]; ok {
				w.Address = addr.WithZone(w.Interface)
			}
		}
	}
}

// stranger takes note of a router that has connected without being a neighbor.
// It is one if it belongs to a range.
func (s *speaker) stranger(addr netip.Addr) error {
	for _, r := range s.table.Sessions {
		if !r.Range.IsValid() || !r.Range.Contains(addr.WithZone("")) {
			continue
		}
		known := s.found.inRange[r.Name]
		if _, old := known[addr]; old || len(known) >= maxFound {
			return nil
		}
		if known == nil {
			known = map[netip.Addr]time.Time{}
			s.found.inRange[r.Name] = known
		}
		known[addr] = time.Now()
		s.log.Info("bgp neighbor found", "peer", r.Name, "address", addr)
		if r.PasswordKey != "" {
			// It is gobgp's dynamic neighbor now, outside of all VRFs.
			_ = s.calls.do("delete peer", func() error {
				return s.gobgp.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: addr.String()})
			})
		}
		return s.apply(s.table)
	}
	return nil
}

// forget drops neighbors of ranges that have been away for long.
func (s *speaker) forget() error {
	changed := false
	for name, known := range s.found.inRange {
		for addr, seen := range known {
			switch {
			case s.status.is(name+" "+addr.String(), Established):
				known[addr] = time.Now()
			case time.Since(seen) > forgetTime:
				delete(known, addr)
				changed = true
			}
		}
	}
	if !changed {
		return nil
	}
	return s.apply(s.table)
}

// ranges makes gobgp's peer groups equal to the ranges that have a password: the
// kernel must know it before a router can connect at all.
func (s *speaker) ranges(sessions []plan.Session) {
	for name, old := range s.found.groups {
		if !slices.Contains(sessions, old) {
			s.deleteGroup(name, old)
		}
	}
	for _, r := range sessions {
		if !r.Range.IsValid() {
			continue
		}
		if len(s.found.inRange[r.Name]) > 0 {
			s.status.remove(r.Name)
		} else if s.status.add(r); s.deaf != nil {
			s.status.refuse(r.Name, s.deaf.Error())
		} else {
			s.status.waits(r.Name)
		}
		if _, there := s.found.groups[r.Name]; !there && r.PasswordKey != "" {
			s.addGroup(r)
		}
	}
}

// dropRanges forgets the ranges that the new table lacks.
func (s *speaker) dropRanges(t plan.Table) {
	for _, old := range s.table.Sessions {
		if old.Range.IsValid() && !slices.ContainsFunc(t.Sessions, func(r plan.Session) bool { return r.Name == old.Name && r.Range == old.Range }) {
			s.status.remove(old.Name)
			delete(s.found.inRange, old.Name)
		}
	}
}

// hear begins to listen as soon as the port is free that was taken.
func (s *speaker) hear() error {
	if s.deaf == nil {
		return nil
	}
	for _, on := range strings.Fields(s.listensOn) {
		l, err := net.Listen("tcp", net.JoinHostPort(on, fmt.Sprint(s.port)))
		if err != nil {
			return nil //nolint:nilerr // it is still taken, which has been said
		}
		_ = l.Close()
	}
	s.stop(true)
	return s.apply(s.table)
}

func (s *speaker) addGroup(r plan.Session) {
	password, err := s.passwordOf(r)
	if err == nil {
		err = s.calls.do("add peer group", func() error {
			return s.gobgp.AddPeerGroup(context.Background(), &api.AddPeerGroupRequest{PeerGroup: &api.PeerGroup{
				Conf: &api.PeerGroupConf{PeerGroupName: r.Name, PeerAsn: r.ASN, LocalAsn: r.LocalASN, AuthPassword: password},
			}})
		})
	}
	if err == nil {
		err = s.calls.do("add dynamic neighbor", func() error {
			return s.gobgp.AddDynamicNeighbor(context.Background(), &api.AddDynamicNeighborRequest{DynamicNeighbor: &api.DynamicNeighbor{
				Prefix: r.Range.Masked().String(), PeerGroup: r.Name,
			}})
		})
	}
	if err != nil {
		s.status.refuse(r.Name, err.Error())
		return
	}
	s.found.groups[r.Name] = r
}

func (s *speaker) deleteGroup(name string, r plan.Session) {
	delete(s.found.groups, name)
	if err := s.calls.do("delete dynamic neighbor", func() error {
		if err := s.gobgp.DeleteDynamicNeighbor(context.Background(), &api.DeleteDynamicNeighborRequest{
			Prefix: r.Range.Masked().String(), PeerGroup: name,
		}); err != nil {
			return err
		}
		return s.gobgp.DeletePeerGroup(context.Background(), &api.DeletePeerGroupRequest{Name: name})
	}); err != nil {
		s.log.Error("bgp peer group not deleted", "peer", name, "err", err)
	}
}

// listenPort is where passive sessions wait, and on which addresses; 0: nowhere.
func listenPort(t plan.Table, want map[string]*session) (port uint16, addresses string) {
	var on []string
	for _, w := range want {
		if !w.Passive && !w.Range.IsValid() {
			continue
		}
		if port = t.ListenPort; port == 0 {
			port = 179
		}
		any := netip.IPv6Unspecified()
		if w.Address.Is4() || w.Range.Addr().Is4() {
			any = netip.IPv4Unspecified()
		}
		on = append(on, any.String())
	}
	slices.Sort(on)
	return port, strings.Join(slices.Compact(on), " ")
}

// notHeard says why a port cannot be listened on, and what to write then.
func notHeard(port uint16, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = ": set bgp.listenPort to a port from 1024, such as 1179, and tell the router (FRR: neighbor X port 1179)"
	case errors.Is(err, syscall.EADDRINUSE):
		hint = ": end what holds the port, or set bgp.listenPort to another and tell the router (FRR: neighbor X port 1179)"
	}
	cause := err
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		cause = op
	}
	return fmt.Errorf("cannot wait for the peer on port %d: %w%s", port, cause, hint)
}

// waiting says that a passive session has not been asked for.
func waiting(s plan.Session, port uint16) string {
	from := s.Address.String()
	if s.Range.IsValid() {
		from = s.Range.String()
	}
	return fmt.Sprintf("no router has connected from %s yet: look whether it has this node as a neighbor, with the password if there is one, and reaches port %d of this node", from, port)
}
