package bgp

import (
	"context"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/heraldlb/herald/speaker/bfd"
	"github.com/heraldlb/herald/speaker/plan"
)

// BFD runs beside gobgp, whose own cannot do what routers want (ADR 25). Some want it
// only while their session is up: FRR 8 begins with BFD anew when BGP comes up, and ends
// BGP at once if BFD was Up before. Others, such as FRR 10.3, take no session before BFD
// is Up. So it begins with the session, and before it only for a peer that has refused a
// connection, or has not made one that this node waits for. When it fails, the session
// that is up is reset, and BFD goes on, so as to be Up before the next session if it can.

const (
	// anewTime is for how long BFD waits for the router to begin with it anew, once the
	// session is up.
	anewTime = time.Second
	// flapTime is for how long the router may begin with BFD once more after its session
	// has come up, as FRR 8 does.
	flapTime = 3 * time.Second
	// bfdPatience is how long BFD may take before somebody should look.
	bfdPatience = 5 * time.Second
	// callTime is how long a router may take to make a connection without BFD.
	callTime = 3 * time.Second
)

// watchPaths makes the BFD sessions equal to what the peers ask for.
func (s *speaker) watchPaths() {
	want := map[netip.Addr]bfd.Params{}
	for _, p := range s.peers {
		if p.BFD != (plan.BFD{}) && p.Address.IsValid() {
			one := bfdParams(p.Session)
			_, up := s.status.established(p.Name)
			one.Held = !p.BFD.Strict && !p.bfdFirst && !p.bfdFailed && !up
			one.Await = anewTime
			want[p.Address] = one
		}
	}
	s.bfd.Apply(want)
	for _, p := range s.peers {
		s.showBFD(p.Address)
	}
}

func bfdParams(s plan.Session) bfd.Params {
	p := bfd.Params{
		Local: s.Source, Interface: s.Interface,
		ReceiveInterval: s.BFD.ReceiveInterval, TransmitInterval: s.BFD.TransmitInterval, DetectMultiplier: s.BFD.DetectMultiplier,
	}
	if !s.Internal {
		p.Hops = s.EBGPMultihop
	}
	return p
}

// refused begins with BFD for a peer that has closed a connection before it said
// OPEN.
func (s *speaker) refused(peer netip.Addr) {
	for _, p := range s.peers {
		if p.Address == peer && p.BFD != (plan.BFD{}) && !p.bfdFirst {
			s.log.Info("bgp peer may want BFD first", "peer", p.Name, "address", p.Address)
			p.bfdFirst = true
			s.watchPaths()
		}
	}
}

// called is that for a peer that has made no connection.
func (s *speaker) called(name string) {
	if p := s.peers[name]; p != nil && p.Passive {
		if _, up := s.status.established(name); !up {
			s.refused(p.Address)
		}
	}
}

// showBFD puts the state of a BFD session into its peer's status.
func (s *speaker) showBFD(peer netip.Addr) {
	state := ""
	if now, there := s.bfd.Status(peer); there {
		state = now.State.String()
	}
	s.status.bfd(peer, state)
}

// bfdChanged follows a change of a BFD session.
func (s *speaker) bfdChanged(peer netip.Addr) error {
	now, there := s.bfd.Status(peer)
	for _, p := range s.peers {
		if p.Address != peer || !there {
			continue
		}
		failed := now.Downs > p.downs
		p.downs = now.Downs
		if failed {
			return s.pathFailed(p, now.Why)
		}
		if now.State == bfd.Up {
			return s.addPeer(p) // in strict mode it has waited for this
		}
	}
	return nil
}

// pathFailed resets the session whose BFD session has gone down. Where the router
// has only switched BFD off, nothing has failed (RFC 5882 section 3.2), nor where it
// begins with BFD anew, which FRR does just before or after its session comes up.
func (s *speaker) pathFailed(p *peer, why bfd.Cause) error {
	since, established := s.status.established(p.Name)
	reason := "BFD down: nothing was heard of the peer for the whole detection time: look for a cut link, or one side under load"
	switch {
	case why == bfd.PeerAdminDown, !p.up, why == bfd.PeerDown && (!established || time.Since(since) < flapTime):
		return nil
	case why == bfd.PeerDown:
		reason = "BFD down: the peer hears nothing of this node, or has ended its BFD session"
	}
	if established {
		p.bfdFailed = true
		s.status.failed(p.Address, reason)
		if err := s.calls.do("reset peer", func() error {
			return s.gobgp.ResetPeer(context.Background(), &api.ResetPeerRequest{Address: p.Address.String(), Communication: bfdIsDown})
		}); err != nil {
			return err
		}
	}
	if !p.BFD.Strict {
		return nil
	}
	err := s.deletePeer(p)
	p.asked = time.Now()
	s.status.idle(p.Name)
	return err
}

// bfdIsDown is what the router is told (RFC 9003).
const bfdIsDown = "BFD is down"

// awaitsBFD tells whether a session must not be opened yet.
func (s *speaker) awaitsBFD(p *peer) bool {
	now, _ := s.bfd.Status(p.Address)
	return p.BFD.Strict && now.State != bfd.Up
}

// missBFD says of a peer whose BFD should be Up by now that it is not. Without this,
// a strict session would be down and no other protected, and nobody would know.
func (s *speaker) missBFD(p *peer) {
	now, there := s.bfd.Status(p.Address)
	since, established := s.status.established(p.Name)
	switch {
	case !there || now.State == bfd.Up:
	case p.up && established && time.Since(since) > bfdPatience:
		s.status.unprotected(p.Name, "BFD is not Up, so that a dead path is found by the hold time alone: "+now.Fault)
	case !p.up && p.BFD.Strict && time.Since(p.asked) > bfdPatience:
		s.status.refuse(p.Name, "waits for BFD, which its profile asks for before any session: "+now.Fault)
	}
}
