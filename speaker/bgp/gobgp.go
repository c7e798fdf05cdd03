package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/heraldlb/herald/speaker/bfd"
	"github.com/heraldlb/herald/speaker/plan"
)

// start starts a gobgp server that listens on a port, or on none.
func (s *speaker) start(port uint16, on []string) error {
	listen := int32(port)
	if port == 0 {
		listen = -1
	}
	level := new(slog.LevelVar)
	level.Set(slog.LevelDebug)
	g := server.NewBgpServer(server.LoggerOption(slog.New(&tap{status: s.status, next: s.log, stranger: func(addr netip.Addr) {
		go s.send(event{stranger: addr}) // gobgp's lock is held
	}, keyFault: func(why string) { s.keyFault.Store(&why) }, refused: func(addr netip.Addr) (explained bool) {
		go s.send(event{refused: addr})
		now, _ := s.bfd.Status(addr)
		return now.Heard && now.State != bfd.Up
	}}), level))
	go g.Serve()
	ctx, cancel := context.WithCancel(context.Background())
	err := s.calls.do("start", func() error {
		if err := g.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
			Asn: s.asn, RouterId: s.routerID.String(), ListenPort: listen, ListenAddresses: on,
		}}); err != nil {
			return err
		}
		if err := acceptOwnRoutesOnly(ctx, g); err != nil {
			return err
		}
		return g.WatchEvent(ctx, server.WatchEventMessageCallbacks{OnPeerUpdate: s.observe}, server.WatchPeer())
	})
	if err != nil {
		cancel()
		g.Stop()
		return fmt.Errorf("start gobgp with AS %d and router ID %s: %w", s.asn, s.routerID, err)
	}
	s.gobgp, s.unwatch = g, cancel
	return nil
}

// acceptOwnRoutesOnly keeps out of the RIB what neighbours send. The default
// alone would refuse our own routes as well, and without an error.
func acceptOwnRoutesOnly(ctx context.Context, g *server.BgpServer) error {
	const name = "own routes only"
	if err := g.AddPolicy(ctx, &api.AddPolicyRequest{Policy: &api.Policy{Name: name, Statements: []*api.Statement{{
		Name:       name,
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}}); err != nil {
		return err
	}
	return g.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
		Name:          "global",
		Direction:     api.PolicyDirection_POLICY_DIRECTION_IMPORT,
		Policies:      []*api.Policy{{Name: name}},
		DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
	}})
}

// stop closes all sessions: with a Cease, or, to keep the routes, those with
// graceful restart without a word.
func (s *speaker) stop(keep bool) {
	if s.gobgp == nil {
		return
	}
	for _, p := range sorted(s.peers) {
		s.status.remove(p.Name)
		if !keep {
			s.leave(p)
		}
	}
	s.calls.set("stop")
	if keep {
		if err := s.gobgp.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: true}); err != nil {
			s.log.Error("gobgp not stopped in order", "err", err)
		}
	}
	s.gobgp.Stop()
	s.calls.set("")
	s.unwatch()
	s.gobgp, s.peers, s.found.groups = nil, map[string]*peer{}, map[string]plan.Session{}
}

// leave closes a session for good.
func (s *speaker) leave(p *peer) {
	if err := s.deletePeer(p); err != nil {
		s.log.Error("bgp session not closed", "peer", p.Name, "err", err)
	}
}

// probe makes a call that changes nothing, so that a hang shows even while there
// is nothing to announce.
func (s *speaker) probe() {
	if s.gobgp == nil {
		return
	}
	if err := s.calls.do("probe", func() error {
		_, err := s.gobgp.GetBgp(context.Background(), &api.GetBgpRequest{})
		return err
	}); err != nil {
		s.log.Error("gobgp does not answer", "err", err)
	}
	s.retry(s.status.stuck(stuckAfter, s.port))
	s.count()
	if err := errors.Join(s.forget(), s.hear()); err != nil {
		s.log.Error("bgp table not applied anew", "err", err)
	}
	// Nobody applies a table anew while nothing changes, so what could not be
	// opened, or opened again, is tried here.
	for _, p := range sorted(s.peers) {
		if err := errors.Join(s.changePassword(p), s.addPeer(p)); err != nil {
			s.log.Error("bgp session not opened", "peer", p.Name, "err", err)
		}
		s.missBFD(p)
	}
}

// addPeer opens a session. What only an operator can mend is no error: it is in
// the session's status, and probe tries again.
func (s *speaker) addPeer(p *peer) error {
	if p.up || time.Now().Before(p.notBefore) {
		return nil
	}
	s.status.add(p.Session)
	password, err := s.passwordOf(p.Session)
	if err == nil {
		err = s.impossible(p.Session)
	}
	if err != nil {
		s.status.refuse(p.Name, err.Error())
		return nil
	}
	if s.awaitsBFD(p) {
		return nil
	}
	if err := s.calls.do("add peer", func() error {
		return s.gobgp.AddPeer(context.Background(), &api.AddPeerRequest{Peer: neighbor(p.Session, p.vrfName(), password)})
	}); err != nil {
		s.status.refuse(p.Name, "gobgp refuses the session: "+err.Error())
		return err
	}
	p.up, p.password = true, password
	if p.Passive && p.BFD != (plan.BFD{}) {
		time.AfterFunc(callTime, func() { s.send(event{name: p.Name, silent: true}) })
	}
	// Without its key the listener would take anybody for the peer.
	if why := s.keyFault.Swap(nil); why != nil {
		err := s.deletePeer(p)
		s.status.refuse(p.Name, "the kernel does not take the password: "+*why)
		return err
	}
	return nil
}

// stuckAfter is how long a session may stand still between two messages.
const stuckAfter = 8 * time.Second

// retry begins again with sessions that stand still, but not all the time: some
// routers punish that.
func (s *speaker) retry(names []string) {
	for _, name := range names {
		p := s.peers[name]
		if p == nil || !p.up || time.Since(p.revived) < time.Minute {
			continue
		}
		p.revived = time.Now()
		if err := s.deletePeer(p); err != nil {
			s.log.Error("bgp session that stands still not closed", "peer", name, "err", err)
		}
	}
}

// impossible says why a session cannot be on this node.
func (s *speaker) impossible(of plan.Session) error {
	if of.Passive && s.deaf != nil {
		return s.deaf
	}
	if _, err := net.InterfaceByName(of.Interface); of.Interface != "" && err != nil {
		return fmt.Errorf("this node does not have the interface %s", of.Interface)
	}
	if err := s.found.faults[of.Interface]; err != nil && !of.Address.IsValid() {
		return err
	}
	if !of.Address.IsValid() {
		return fmt.Errorf("no router has advertised itself on %s: look whether it sends router advertisements there", of.Interface)
	}
	return nil
}

func (s *speaker) deletePeer(p *peer) error {
	if !p.up {
		return nil
	}
	if err := s.dropKey(p); err != nil {
		return err
	}
	if err := s.calls.do("delete peer", func() error {
		return s.gobgp.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: p.Address.String()})
	}); err != nil {
		return err
	}
	p.up = false
	return nil
}

// resend sends all routes of a session once more.
func (s *speaker) resend(p *peer) error {
	return s.calls.do("resend routes", func() error {
		return s.gobgp.ResetPeer(context.Background(), &api.ResetPeerRequest{
			Address: p.Address.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT,
		})
	})
}

func (p *peer) vrfName() string { return "peer-" + strconv.FormatUint(uint64(p.vrf), 10) }

// addVRF makes the VRF of a peer. Its distinguisher and its one target are never
// seen by anybody, and only have to differ from those of the other VRFs.
func (s *speaker) addVRF(p *peer) error {
	target := []*api.RouteTarget{{Rt: &api.RouteTarget_TwoOctetAsSpecific{
		TwoOctetAsSpecific: &api.TwoOctetAsSpecificExtended{
			IsTransitive: true, SubType: uint32(bgp.EC_SUBTYPE_ROUTE_TARGET), LocalAdmin: p.vrf,
		},
	}}}
	return s.calls.do("add VRF", func() error {
		return s.gobgp.AddVrf(context.Background(), &api.AddVrfRequest{Vrf: &api.Vrf{
			Name: p.vrfName(), Id: p.vrf, ImportRt: target, ExportRt: target,
			Rd: &api.RouteDistinguisher{Rd: &api.RouteDistinguisher_TwoOctetAsn{
				TwoOctetAsn: &api.RouteDistinguisherTwoOctetASN{Assigned: p.vrf},
			}},
		}})
	})
}

func (s *speaker) deleteVRF(p *peer) error {
	return s.calls.do("delete VRF", func() error {
		return s.gobgp.DeleteVrf(context.Background(), &api.DeleteVrfRequest{Name: p.vrfName()})
	})
}

func (s *speaker) addPaths(p *peer, paths []*apiutil.Path) error {
	return s.calls.do("add paths", func() error {
		_, err := s.gobgp.AddPath(apiutil.AddPathRequest{VRFID: p.vrfName(), Paths: paths})
		return err
	})
}

func (s *speaker) deletePaths(p *peer, paths []*apiutil.Path) error {
	return s.calls.do("delete paths", func() error {
		return s.gobgp.DeletePath(apiutil.DeletePathRequest{VRFID: p.vrfName(), Paths: paths})
	})
}
