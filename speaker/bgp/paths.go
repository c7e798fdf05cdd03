package bgp

import (
	"context"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/internal/config"
)

// allPaths makes up for a hole in gobgp 4.8: a new session of a VRF gets one path
// of each prefix, although ADD-PATH was agreed on, and the others only when they
// change. So they are given once more.
func (s *speaker) allPaths(p *peer) error {
	if p.Weights != config.EncodeAddPath || !s.status.takesPaths(p.Name) {
		return nil
	}
	s.awaitEstablished(p)
	var paths []*apiutil.Path
	for _, r := range inOrder(p.routes) {
		a := p.routes[r]
		if !a.nextHop.IsValid() {
			continue
		}
		one, err := path(r, a)
		if err != nil {
			return err
		}
		paths = append(paths, one)
	}
	if len(paths) == 0 {
		return nil
	}
	return s.addPaths(p, paths)
}

// count asks gobgp what it announces to a peer. That takes it a while, so it is
// one peer each time, and none whose routes have just changed.
func (s *speaker) count() {
	var next *peer
	for _, p := range s.peers {
		if p.up && time.Since(p.changed) > time.Second && (next == nil || p.counted.Before(next.counted)) {
			next = p
		}
	}
	if next == nil {
		return
	}
	next.counted = time.Now()
	_ = s.calls.do("count routes", func() error {
		return s.gobgp.ListPeer(context.Background(), &api.ListPeerRequest{Address: next.Address.String(), EnableAdvertised: true}, func(p *api.Peer) {
			n := 0
			for _, a := range p.GetAfiSafis() {
				n += int(a.GetState().GetAdvertised())
			}
			if p.GetState().GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED {
				s.status.sent(next.Name, n)
			}
		})
	})
	s.askReflector(next)
}

// askReflector looks whether an internal peer hands us paths of our own addresses
// that it has from others: so does a route reflector, with ORIGINATOR_ID (RFC 4456
// section 8). Only a few addresses are asked for, as a peer may send a whole table.
func (s *speaker) askReflector(p *peer) {
	const most = 16
	if !p.Internal || !s.status.is(p.Name, Established) {
		return
	}
	asked := map[bgp.Family][]*apiutil.LookupPrefix{}
	for i, r := range inOrder(p.routes) {
		if i == most {
			break
		}
		f := bgp.RF_IPv4_UC
		if r.prefix.Addr().Is6() {
			f = bgp.RF_IPv6_UC
		}
		asked[f] = append(asked[f], &apiutil.LookupPrefix{Prefix: r.prefix.String()})
	}
	for f, prefixes := range asked {
		_ = s.calls.do("look for reflected paths", func() error {
			return s.gobgp.ListPath(apiutil.ListPathRequest{
				TableType: api.TableType_TABLE_TYPE_ADJ_IN, Name: p.Address.String(), Family: f, Prefixes: prefixes,
			}, func(_ bgp.NLRI, paths []*apiutil.Path) {
				if slices.ContainsFunc(paths, reflected) {
					s.status.reflects(p.Name)
				}
			})
		})
	}
}

// reflected tells whether a route reflector has handed on a path.
func reflected(p *apiutil.Path) bool {
	return slices.ContainsFunc(p.Attrs, func(a bgp.PathAttributeInterface) bool {
		return a.GetType() == bgp.BGP_ATTR_TYPE_ORIGINATOR_ID || a.GetType() == bgp.BGP_ATTR_TYPE_CLUSTER_LIST
	})
}

// awaitEstablished waits until gobgp itself takes the session for established,
// which is a moment after it said so. Until then it would send nothing.
func (s *speaker) awaitEstablished(p *peer) {
	for range 20 {
		if s.ask(p).GetState().GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// holdsBack tells whether gobgp still waits for other peers, as it thinks that it
// restarts. What was sent until then would not be withdrawn.
func (s *speaker) holdsBack(p *peer) bool {
	return p.RestartTime > 0 && s.ask(p).GetGracefulRestart().GetLocalRestarting()
}

// ask returns what gobgp says of a peer.
func (s *speaker) ask(p *peer) (is *api.Peer) {
	_ = s.calls.do("list peer", func() error {
		return s.gobgp.ListPeer(context.Background(), &api.ListPeerRequest{Address: p.Address.String()}, func(p *api.Peer) { is = p })
	})
	return is
}
