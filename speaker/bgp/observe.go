package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// event is a session that is coming up, is up, or was lost.
type event struct {
	name  string
	first bool // it is coming up
	up    bool
	at    time.Time // as gobgp says

	stranger netip.Addr // or this one has connected
	link     string     // or this is the link of a router,
	router   netip.Addr // which is this,
	linkErr  error      // or why none can be found there
	bfd      netip.Addr // or the BFD session with this peer has changed
	refused  netip.Addr // or this peer has closed a connection before it said OPEN
	silent   bool       // or the peer has had the time to make a connection
}

// observe takes gobgp's report of a session's state. gobgp calls it.
func (s *speaker) observe(e *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	if e.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	p := e.Peer.State
	is := stateOf(p.SessionState)
	if is == Established {
		s.status.heard(p.NeighborAddress, p.PeerASN, p.RemoteCap)
	}
	name, was := s.status.change(p.NeighborAddress, is, func(from State) string { return lossOf(from, p.DisconnectReason) })
	if was == is || was != Established && is != Established {
		return
	}
	if is == Established {
		time.AfterFunc(5*time.Millisecond, func() { s.send(event{name: name, first: true, at: at}) })
	}
	// Not before gobgp itself takes the session for established.
	time.AfterFunc(200*time.Millisecond, func() { s.send(event{name: name, up: is == Established, at: at}) })
}

// handle does what an event asks for.
func (s *speaker) handle(e event) error {
	switch {
	case e.stranger.IsValid():
		return s.stranger(e.stranger)
	case e.router.IsValid():
		return s.routerOn(e.link, e.router)
	case e.link != "":
		return s.linkFault(e.link, e.linkErr)
	case e.bfd.IsValid():
		return s.bfdChanged(e.bfd)
	case e.refused.IsValid():
		s.refused(e.refused)
		return nil
	case e.silent:
		s.called(e.name)
		return nil
	}
	p := s.peers[e.name]
	switch {
	case p == nil || !p.up:
		return nil // closed since then
	case e.first:
		p.since, p.bfdFailed = e.at, false
		s.watchPaths()
		if p.ASN == 0 && s.status.asn(p.Name) == p.LocalASN {
			return s.refuseOwn(p)
		}
		return s.allPaths(p)
	case e.up && s.holdsBack(p):
		time.AfterFunc(200*time.Millisecond, func() { s.send(e) })
		return nil
	case e.up:
		return s.repair(p, e.at)
	default:
		p.bfdFailed = p.bfdFailed || s.status.endedByBFD(p.Name)
		s.watchPaths()
		return s.revive(p, e.at)
	}
}

// send gives the loop an event, unless it has ended.
func (s *speaker) send(e event) {
	select {
	case s.events <- e:
	case <-s.ended:
	}
}

// refuseOwn closes a session that is for external peers with one that is not.
func (s *speaker) refuseOwn(p *peer) error {
	s.status.refuse(p.Name, fmt.Sprintf("the peer has our own AS number, %d, and the session is for external peers: configure its AS number", p.LocalASN))
	p.notBefore = time.Now().Add(time.Minute)
	return s.deletePeer(p)
}

// lasts is for how long a session must have been up for its loss to be an event,
// and not what always becomes of it.
const lasts = 2 * time.Second

// revive opens a session that was lost at once. gobgp by itself would pause for 5 s
// first, which is right only for one that never lasts.
func (s *speaker) revive(p *peer, lost time.Time) error {
	short := lost.Sub(p.since) < lasts
	if short && s.status.endedByBFD(p.Name) && time.Since(p.flapped) > time.Minute {
		// So FRR 8 ends the first session with a neighbor whose BFD was Up before.
		short, p.flapped = false, time.Now()
	}
	// The loop may have been busy for so long that gobgp was faster.
	if short || s.status.is(p.Name, Established) {
		return nil
	}
	if err := s.deletePeer(p); err != nil {
		return err
	}
	return s.addPeer(p)
}

// repair makes up for a hole in gobgp 4.8: it sends a new session all routes, and
// only then marks it as established; a change of routes that falls between the
// two is not sent to it. Such a change is sent again.
func (s *speaker) repair(p *peer, up time.Time) error {
	if p.changed.Before(up) {
		return nil
	}
	// gobgp sends a withdrawal only for a route that it has.
	lost := map[pathName]attributes{}
	for r, a := range p.withdrawn {
		if _, back := p.routes[r]; !back && a.nextHop.IsValid() {
			lost[r] = a
		}
	}
	if err := s.announce(p, lost); err != nil {
		return err
	}
	if err := s.withdraw(p, keys(lost)); err != nil {
		return err
	}
	return s.resend(p)
}

func stateOf(s bgp.FSMState) State {
	switch s {
	case bgp.BGP_FSM_CONNECT:
		return Connect
	case bgp.BGP_FSM_ACTIVE:
		return Active
	case bgp.BGP_FSM_OPENSENT:
		return OpenSent
	case bgp.BGP_FSM_OPENCONFIRM:
		return OpenConfirm
	case bgp.BGP_FSM_ESTABLISHED:
		return Established
	default:
		return Idle
	}
}

// lossOf says why a session went back from a state, and is empty where the log
// tells more: about notifications it has the codes.
func lossOf(from State, r api.PeerState_DisconnectReason) string {
	switch r {
	case api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		return "hold timer expired: the peer was silent for the whole hold time; " + holdHint
	case api.PeerState_DISCONNECT_REASON_READ_FAILED, api.PeerState_DISCONNECT_REASON_GRACEFUL_RESTART:
		return "the peer closed the connection without a word: it was restarted, or a firewall cut in"
	case api.PeerState_DISCONNECT_REASON_WRITE_FAILED:
		return "the connection broke while writing: look for a cut link or a restarted router"
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		if from == OpenConfirm {
			return "the peer answered OPEN with a refusal: look whether it expects this node's AS number, and into its log"
		}
		return "the peer sent a message that is not valid BGP, or not at this time"
	default:
		return ""
	}
}
