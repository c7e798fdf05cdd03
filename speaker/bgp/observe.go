package bgp

import (
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// cameUp says when gobgp reported a session as Established.
type cameUp struct {
	name string
	at   time.Time
}

// observe takes gobgp's report of a session's state. gobgp calls it.
func (s *speaker) observe(e *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	if e.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	p := e.Peer.State
	state := stateOf(p.SessionState)
	name := s.status.change(p.NeighborAddress, state, lossOf(p.DisconnectReason))
	if state == Established && name != "" {
		// Not before gobgp itself takes the session for established.
		time.AfterFunc(200*time.Millisecond, func() { s.notify(cameUp{name, at}) })
	}
}

func (s *speaker) notify(up cameUp) {
	select {
	case s.established <- up:
	case <-s.ended:
	}
}

// repair makes up for a hole in gobgp 4.8: it sends a new session all routes, and
// only then marks it as established; a change of routes that falls between the
// two is not sent to it. Such a change is sent again.
func (s *speaker) repair(up cameUp) error {
	p := s.peers[up.name]
	if p == nil || !p.up || p.changed.Before(up.at) {
		return nil
	}
	// gobgp sends a withdrawal only for a route that it has.
	lost := map[netip.Prefix]attributes{}
	for prefix, a := range p.withdrawn {
		if _, back := p.routes[prefix]; !back && a.nextHop.IsValid() {
			lost[prefix] = a
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

// lossOf says why a session ended, and is empty where the log tells more: about
// notifications it has the codes.
func lossOf(r api.PeerState_DisconnectReason) string {
	switch r {
	case api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		return "hold timer expired: the peer was silent for the whole hold time; look for a cut link or a router under load"
	case api.PeerState_DISCONNECT_REASON_READ_FAILED:
		return "the peer closed the connection without a word: it was restarted, or a firewall cut in"
	case api.PeerState_DISCONNECT_REASON_WRITE_FAILED:
		return "the connection broke while writing: look for a cut link or a restarted router"
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		return "the peer sent a message that is not valid BGP, or not at this time"
	default:
		return ""
	}
}
