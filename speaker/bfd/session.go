package bfd

import "time"

// slow is the least interval of packets while a session is not Up (RFC 5880
// section 6.8.3).
const slow = time.Second

// session is the state machine of RFC 5880, without a clock or a socket: it is
// told what comes and when, and says what to send and when.
type session struct {
	Params

	state       State
	diag        diagnostic
	mine, yours uint32
	peer        packet        // the last one of the peer's
	tx, rx      time.Duration // intervals in force, which follow Params by a poll
	poll        bool          // a poll is not answered yet

	quiet time.Time // not begun before, after it was held; zero: it has
	old   uint32    // discriminator of the peer's that does not count till then

	heard    time.Time // zero: never
	deadline time.Time // of the next packet; zero: none is waited for
	late     bool      // the deadline was put off, since this process was
	next     time.Time // when to send again

	why   Cause // the session went down last
	downs uint64
}

func newSession(p Params, discriminator uint32, now time.Time) *session {
	return &session{Params: p, state: Down, mine: discriminator, tx: p.TransmitInterval, rx: p.ReceiveInterval, next: now}
}

// change takes other parameters. What the peer still relies on stays in force until
// it has answered a poll (RFC 5880 section 6.8.3).
func (s *session) change(now time.Time, p Params) (send bool) {
	held := s.Held
	s.Params = p
	switch {
	case p.Held:
		// No failure: nobody relies on it.
		s.state, s.diag, s.yours, s.poll, s.deadline = Down, 0, 0, false, time.Time{}
		s.settle()
		return false
	case held:
		s.settle()
		s.quiet, s.old, s.next = now.Add(p.Await), s.peer.mine, now.Add(p.Await)
		return s.begin(now)
	}
	s.tx, s.rx = min(s.tx, p.TransmitInterval), max(s.rx, p.ReceiveInterval)
	if s.state == Up {
		s.poll = true
	} else {
		s.settle()
	}
	return true
}

// begin ends the time that a session is held for, if it is over.
func (s *session) begin(now time.Time) bool {
	if s.quiet.IsZero() || now.Before(s.quiet) {
		return false
	}
	s.quiet = time.Time{}
	if now.Sub(s.heard) < 2*slow && s.peer.state == Down {
		s.receive(now, s.peer) // the next one may be a second away
	}
	return true
}

// mute tells whether to say nothing yet.
func (s *session) mute() bool { return s.Held || !s.quiet.IsZero() }

func (s *session) settle() { s.tx, s.rx = s.TransmitInterval, s.ReceiveInterval }

// packet is what to send now.
func (s *session) packet() packet {
	tx := s.TransmitInterval
	if s.state != Up {
		tx = max(tx, slow)
	}
	return packet{
		diag: s.diag, state: s.state, poll: s.poll, multiplier: s.DetectMultiplier,
		mine: s.mine, yours: s.yours, minTx: tx, minRx: s.ReceiveInterval,
	}
}

// interval is how often to send, before jitter. 0: the peer wants nothing.
func (s *session) interval() time.Duration {
	tx := s.tx
	if s.state != Up {
		tx = max(tx, slow)
	}
	if s.yours != 0 {
		if s.peer.minRx == 0 {
			return 0
		}
		tx = max(tx, s.peer.minRx)
	}
	return tx
}

// sent plans the next packet. Chance is between 0 and 1.
func (s *session) sent(now time.Time, chance float64) {
	// Less by up to a quarter, so that many sessions do not fall into step; and by
	// a tenth at least if each packet counts (RFC 5880 section 6.8.7).
	share := 0.75 + 0.25*chance
	if s.DetectMultiplier == 1 {
		share = 0.75 + 0.15*chance
	}
	if every := s.interval(); every > 0 {
		s.next = now.Add(time.Duration(share * float64(every)))
	} else {
		s.next = now.Add(time.Minute)
	}
}

// receive takes a packet of the peer's, and tells whether to send at once: as an
// answer to a poll (final), or since the peer should know of a new state.
func (s *session) receive(now time.Time, p packet) (send, final bool) {
	if p.yours != 0 && p.yours != s.mine {
		return false, false // of a session that has ended
	}
	if s.mute() {
		s.peer, s.heard = p, now
		if s.Held || p.mine == s.old {
			return false, false
		}
		s.quiet = time.Time{} // the peer has begun anew
	}
	before, faster, anew := s.state, s.peer.minRx == 0 || p.minRx < s.peer.minRx, s.yours != 0 && s.yours != p.mine
	s.peer, s.yours, s.heard, s.late = p, p.mine, now, false
	if p.final {
		s.poll = false
		s.settle()
	}
	s.follow(p.state)
	if anew && p.state == Down && before == Up {
		// The peer has begun with another session. Its next packet may be a second away,
		// and all the while it would not watch over the path.
		s.follow(p.state)
	}
	s.deadline = now.Add(s.detection())
	if p.state == AdminDown {
		s.deadline = time.Time{} // whatever comes next
	}
	if s.state == Up && before != Up {
		s.poll = true // the intervals are other ones now
	}
	// A peer that may hear us more often expects it at once.
	return s.state != before || p.poll || faster, p.poll
}

// follow is the table of RFC 5880 section 6.8.6.
func (s *session) follow(peer State) {
	switch {
	case peer == AdminDown && s.state != Down:
		s.fail(neighborDown, PeerAdminDown)
	case peer == Down && s.state == Down:
		s.state = Init
	case peer == Init && s.state != Up, peer == Up && s.state == Init:
		s.state, s.diag = Up, 0
	case peer == Down && s.state == Up:
		s.fail(neighborDown, PeerDown)
	}
}

func (s *session) detection() time.Duration {
	return time.Duration(s.peer.multiplier) * max(s.rx, s.peer.minTx)
}

// expire is called at the deadline or later, and tells whether the state has
// changed. Who is late himself cannot tell whether the peer was.
func (s *session) expire(now time.Time) bool {
	if over := now.Sub(s.deadline); over > 20*time.Millisecond && !s.late {
		s.deadline, s.late = now.Add(min(over, s.detection())), true
		return false
	}
	s.deadline, s.yours = time.Time{}, 0
	if s.state == Down {
		return false
	}
	s.fail(timeExpired, Silence)
	return true
}

func (s *session) fail(d diagnostic, why Cause) {
	if s.state == Up {
		s.downs++
		s.why = why
	}
	s.state, s.diag, s.poll = Down, d, false
	s.settle()
}
