package bgp

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/speaker/plan"
)

// tap reads gobgp's log. What keeps an outgoing connection from becoming a
// session is said nowhere else. Faults of gobgp itself go on to our own log.
type tap struct {
	status *status
	next   *slog.Logger
	peer   netip.Addr // invalid: not about a peer

	keyFault func(why string) // is told that a password could not be set on the listener
	stranger func(netip.Addr) // is told who has connected without being a neighbor

	// refused is told which peer has closed a connection before it said OPEN, and tells
	// whether that is since it wants BFD first.
	refused func(netip.Addr) (explained bool)
}

// Enabled is true down to debug, the level of failed connections.
func (t *tap) Enabled(context.Context, slog.Level) bool { return true }

// WithGroup does nothing: gobgp uses no groups.
func (t *tap) WithGroup(string) slog.Handler { return t }

// WithAttrs keeps the peer that gobgp makes a logger for.
func (t *tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	about := *t
	for _, a := range attrs {
		if a.Key == "Key" {
			about.peer, _ = netip.ParseAddr(a.Value.String())
		}
	}
	return &about
}

// Handle takes one line of the log.
func (t *tap) Handle(ctx context.Context, r slog.Record) error {
	if t.peer.IsValid() {
		if r.Message == "outgoing connection established" {
			t.status.connected(t.peer)
		}
		if r.Message == refusal && t.refused(t.peer) {
			return nil
		}
		if r.Message == "received notification" && pair(number(r, "Code"), number(r, "Subcode")) == pair(bgp.BGP_ERROR_CEASE, bfdDown) {
			t.status.bfdCeased(t.peer)
		}
		if reason := reasonIn(r, t.status.session(t.peer)); reason != "" {
			t.status.failed(t.peer, reason)
		}
	}
	// Stopping it twice is how to stop all of it.
	if r.Message == "Can't find configuration for a new passive connection" || r.Message == "Accepted a new dynamic neighbor" {
		if addr, err := netip.ParseAddr(text(r, "Key")); err == nil {
			t.stranger(addr.Unmap())
		}
	}
	if r.Message == "failed to set md5" {
		t.keyFault(text(r, "Err"))
	}
	if r.Level >= slog.LevelError && r.Message != "failed to stop BGP server" {
		t.next.Error("gobgp reports an error", "message", r.Message, "err", text(r, "Error"))
	}
	return nil
}

// refusal is what gobgp says when a peer closes a connection before its OPEN.
const refusal = "outgoing connection IO error"

// reasonIn is what a line says about why a session is not up.
func reasonIn(r slog.Record, of plan.Session) string {
	switch r.Message {
	case "failed to connect":
		return dialError(text(r, "Error"))
	case refusal:
		why := "the peer closed the connection before it said OPEN: most often it does not know this node's address as a neighbor"
		if of.BFD == (plan.BFD{}) {
			why += "; FRR 10.3 also does so to a neighbor with bfd, for which the peer needs a bfdProfile"
		}
		return why
	case "outgoing connection closing due to hold timer expired in OPEN SENT state":
		return silent
	case "received notification":
		return received(number(r, "Code"), number(r, "Subcode"), text(r, "Communicated-Reason"), of)
	case "sent notification":
		code, subcode := number(r, "Code"), number(r, "Subcode")
		if code == bgp.BGP_ERROR_CEASE && subcode == bgp.BGP_ERROR_SUB_PEER_DECONFIGURED {
			return "" // we close a session, and may have opened it again already
		}
		if text(r, "Communicated-Reason") == bfdIsDown {
			return "" // which has been said
		}
		return sent(code, subcode, of)
	default:
		return ""
	}
}

func attr(r slog.Record, key string) (v slog.Value) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			v = a.Value
		}
		return a.Key != key
	})
	return v
}

func number(r slog.Record, key string) uint8 {
	if v := attr(r, key); v.Kind() == slog.KindInt64 {
		return uint8(v.Int64())
	}
	return 0
}

func text(r slog.Record, key string) string {
	if v := attr(r, key); v.Any() != nil {
		return strings.TrimSpace(v.String())
	}
	return ""
}
