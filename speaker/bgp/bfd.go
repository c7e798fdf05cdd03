package bgp

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/heraldlb/herald/speaker/plan"
)

// BFD (RFC 5880) runs only while its BGP session is up. It can find nothing
// sooner before: no route depends on the path then. And a router such as FRR
// begins its own BFD session anew as soon as BGP is up, which gobgp would take for
// a failure; a failure before BGP is up would even end the session that follows.

// bfdDelay is how long a router has to begin with BFD.
const bfdDelay = time.Second

// startBFD begins with BFD, or with other parameters of it.
func (s *speaker) startBFD(p *peer) error {
	if !p.up || p.bfd == p.BFD {
		return nil
	}
	want := p.BFD
	if err := s.calls.do("update peer", func() error {
		n := neighbor(p.Session, p.vrfName(), p.password)
		n.Bfd = bfdConfig(want)
		_, err := s.gobgp.UpdatePeer(context.Background(), &api.UpdatePeerRequest{Peer: n})
		return err
	}); err != nil {
		return err
	}
	p.bfd = want
	s.status.bfd(p.Address, bfdState(want))
	return nil
}

// checkBFD begins with BFD on a session that got it after it came up.
func (s *speaker) checkBFD(p *peer) error {
	if p.bfd == p.BFD || !s.status.is(p.Name, Established) {
		return nil
	}
	return s.startBFD(p)
}

// stopBFD ends BFD without a word to the router, whose BGP session is down, too.
func (s *speaker) stopBFD(p *peer) error {
	if p.bfd == (plan.BFD{}) {
		return nil
	}
	wanted := p.BFD
	p.BFD = plan.BFD{}
	err := s.startBFD(p)
	p.BFD = wanted
	return err
}

// bfdState is that of a session which has just begun.
func bfdState(b plan.BFD) string {
	if b == (plan.BFD{}) {
		return ""
	}
	return "Down"
}

func bfdConfig(b plan.BFD) *api.BfdPeerConfig {
	if b == (plan.BFD{}) {
		return nil
	}
	return &api.BfdPeerConfig{
		Enabled:                  true,
		DesiredMinimumTxInterval: uint32(b.TransmitInterval.Microseconds()),
		RequiredMinimumReceive:   uint32(b.ReceiveInterval.Microseconds()),
		DetectionMultiplier:      uint32(b.DetectMultiplier),
	}
}

// bfdLine takes a line of the log about BFD.
func (t *tap) bfdLine(r slog.Record) {
	peer, err := netip.ParseAddr(text(r, "Peer"))
	if err != nil {
		return
	}
	switch r.Message {
	case "Set state to UP":
		t.status.bfd(peer, "Up")
	case "Set state to INIT":
		t.status.bfd(peer, "Init")
	case "Set state to DOWN":
		t.status.bfd(peer, "Down")
	case "Expired":
		t.status.failed(peer, "BFD down: nothing was heard of the peer for the whole detection time: look for a cut link, or one side under load")
	case "Remote peer signaled BFD down":
		t.status.failed(peer, "BFD down: the peer hears nothing of this node, or has ended its BFD session")
	}
}
