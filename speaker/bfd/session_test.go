package bfd

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// pair is two sessions with a path of 1 ms between them, and their clock.
type pair struct {
	now  time.Time
	a, b *session
	cut  bool
	wire []flight
	sent map[*session][]time.Time
	log  []string // changes of state, as "a Up"
}

type flight struct {
	at time.Time
	to *session
	p  packet
}

func newPair(a, b Params) *pair {
	now := time.Unix(1000, 0)
	return &pair{now: now, a: newSession(a, 1, now), b: newSession(b, 2, now.Add(300*time.Millisecond)), sent: map[*session][]time.Time{}}
}

func every(d time.Duration, multiplier uint8) Params {
	return Params{ReceiveInterval: d, TransmitInterval: d, DetectMultiplier: multiplier}
}

// run lets time pass, a millisecond a step.
func (w *pair) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Millisecond) {
		for _, s := range []*session{w.a, w.b} {
			before := s.state
			send, answer := s.begin(w.now), false
			for i := 0; i < len(w.wire); i++ {
				if f := w.wire[i]; f.to == s && !f.at.After(w.now) {
					now, final := s.receive(w.now, f.p)
					send, answer = send || now, answer || final
					w.wire = append(w.wire[:i], w.wire[i+1:]...)
					i--
				}
			}
			if !s.deadline.IsZero() && !w.now.Before(s.deadline) {
				send = s.expire(w.now) || send
			}
			w.note(s, before)
			if !s.mute() && (send || !w.now.Before(s.next)) {
				w.send(s, answer)
			}
		}
	}
}

func (w *pair) note(s *session, before State) {
	if s.state != before {
		w.log = append(w.log, w.name(s)+" "+s.state.String())
	}
}

func (w *pair) name(s *session) string {
	if s == w.a {
		return "a"
	}
	return "b"
}

func (w *pair) send(s *session, final bool) {
	p := s.packet()
	if final {
		p.poll, p.final = false, true
	}
	s.sent(w.now, 0.5)
	w.sent[s] = append(w.sent[s], w.now)
	to := w.a
	if s == w.a {
		to = w.b
	}
	back, err := parse(p.bytes())
	if err != nil || back != p {
		panic(fmt.Sprintf("%+v becomes %+v, %v", p, back, err))
	}
	if !w.cut {
		w.wire = append(w.wire, flight{w.now.Add(time.Millisecond), to, p})
	}
}

func (w *pair) want(t *testing.T, a, b State) {
	t.Helper()
	if w.a.state != a || w.b.state != b {
		t.Fatalf("a is %v and b is %v, want %v and %v; %v", w.a.state, w.b.state, a, b, w.log)
	}
}

// rate is how many packets a session sent in the last second.
func (w *pair) rate(s *session) (n int) {
	for _, at := range w.sent[s] {
		if w.now.Sub(at) <= time.Second {
			n++
		}
	}
	return n
}

func TestUpAndDown(t *testing.T) {
	const d = 100 * time.Millisecond
	w := newPair(every(d, 3), every(50*time.Millisecond, 5))
	w.run(900 * time.Millisecond)
	w.want(t, Up, Up)
	if got := strings.Join(w.log, ", "); got != "b Init, a Up, b Up" {
		t.Errorf("the way there was %s", got)
	}
	w.run(2 * time.Second)
	// The slower of both wishes counts, less the jitter: 1 s / 87.5 ms.
	for _, s := range []*session{w.a, w.b} {
		if n := w.rate(s); n < 10 || n > 13 {
			t.Errorf("%s sends %d packets a second", w.name(s), n)
		}
	}
	if w.a.poll || w.b.poll {
		t.Error("a poll is still not answered")
	}
	w.cut = true
	// b sends 5 packets in its detection time, a 3.
	w.run(310 * time.Millisecond)
	w.want(t, Up, Down)
	w.run(200 * time.Millisecond)
	w.want(t, Down, Down)
	if w.a.why != Silence || w.a.downs != 1 || w.b.why != Silence {
		t.Errorf("a: %d downs, the last by %v; b by %v", w.a.downs, w.a.why, w.b.why)
	}
	w.run(2 * time.Second)
	if n := w.rate(w.a); n > 2 {
		t.Errorf("%d packets a second while Down", n)
	}
	w.cut = false
	w.run(1100 * time.Millisecond)
	w.want(t, Up, Up)
}

// TestOneDirection has b hear nothing. a must learn it from b.
func TestOneDirection(t *testing.T) {
	w := newPair(every(100*time.Millisecond, 3), every(100*time.Millisecond, 3))
	w.run(time.Second)
	w.want(t, Up, Up)
	w.b.expire(w.b.deadline)
	w.send(w.b, false)
	w.run(3 * time.Millisecond)
	if w.a.why != PeerDown || w.a.downs != 1 {
		t.Errorf("a: %v, %d downs, by %v", w.a.state, w.a.downs, w.a.why)
	}
}

// TestPeerBeginsAnew has b replaced by a session with another discriminator, as FRR
// does when BGP comes up. It must be Up on b at once, and not a second later.
func TestPeerBeginsAnew(t *testing.T) {
	w := newPair(every(100*time.Millisecond, 3), every(100*time.Millisecond, 3))
	w.run(time.Second)
	w.b = newSession(every(100*time.Millisecond, 3), 7, w.now)
	w.run(10 * time.Millisecond)
	if w.b.state != Up || w.a.downs != 1 || w.a.why != PeerDown {
		t.Errorf("b is %v; a: %v, %d downs, by %v", w.b.state, w.a.state, w.a.downs, w.a.why)
	}
	w.run(time.Second)
	w.want(t, Up, Up)
}

func TestPeerSwitchesOff(t *testing.T) {
	w := newPair(every(100*time.Millisecond, 3), every(100*time.Millisecond, 3))
	w.run(time.Second)
	off := w.b.packet()
	off.state = AdminDown
	w.a.receive(w.now, off)
	w.cut = true
	w.run(2 * time.Second)
	if w.a.state != Down || w.a.why != PeerAdminDown || w.a.downs != 1 {
		t.Errorf("a: %v, %d downs, by %v", w.a.state, w.a.downs, w.a.why)
	}
}

// TestSlowerParameters changes the intervals. What the other side relies on must not
// end before it knows better.
func TestSlowerParameters(t *testing.T) {
	w := newPair(every(50*time.Millisecond, 3), every(50*time.Millisecond, 3))
	w.run(time.Second)
	for _, d := range []time.Duration{400, 20, 1000} {
		w.a.change(w.now, every(d*time.Millisecond, 3))
		w.send(w.a, false)
		w.run(3 * time.Second)
		w.want(t, Up, Up)
		if w.a.downs != 0 || w.a.poll {
			t.Errorf("%d ms: %d downs, poll %v", d, w.a.downs, w.a.poll)
		}
	}
	if n := w.rate(w.b); n > 2 {
		t.Errorf("b sends %d packets a second, and a wants one", n)
	}
}

// TestHeld holds a session, lets it go, and holds it again, which is no failure.
func TestHeld(t *testing.T) {
	p := every(100*time.Millisecond, 3)
	p.Held, p.Await = true, 700*time.Millisecond
	w := newPair(p, every(100*time.Millisecond, 3))
	w.run(3 * time.Second)
	w.want(t, Down, Down)
	if n := len(w.sent[w.a]); n > 0 {
		t.Fatalf("%d packets", n)
	}
	p.Held = false
	w.a.change(w.now, p)
	w.run(600 * time.Millisecond)
	w.want(t, Down, Down)
	w.run(110 * time.Millisecond)
	if w.b.state != Up {
		t.Errorf("b is %v", w.b.state)
	}
	w.run(time.Second)
	w.want(t, Up, Up)
	p.Held = true
	w.a.change(w.now, p)
	if w.a.state != Down || w.a.downs != 0 {
		t.Errorf("%v, %d downs", w.a.state, w.a.downs)
	}
	// The peer begins anew, so there is nothing to wait for.
	w.run(2 * time.Second)
	p.Held = false
	w.a.change(w.now, p)
	w.b = newSession(every(100*time.Millisecond, 3), 9, w.now)
	w.run(10 * time.Millisecond)
	if w.b.state != Up {
		t.Errorf("b is %v", w.b.state)
	}
}

// TestLate has this process sleep for longer than the detection time. The packets
// of the peer may still wait in the socket.
func TestLate(t *testing.T) {
	w := newPair(every(100*time.Millisecond, 3), every(100*time.Millisecond, 3))
	w.run(time.Second)
	late := w.a.deadline.Add(200 * time.Millisecond)
	if w.a.expire(late) || w.a.state != Up {
		t.Fatal("it calls the peer late and was late itself")
	}
	if want := late.Add(200 * time.Millisecond); !w.a.deadline.Equal(want) {
		t.Errorf("the deadline is %v, want %v", w.a.deadline, want)
	}
	if !w.a.expire(w.a.deadline.Add(time.Second)) {
		t.Error("it is put off for ever")
	}
}

// TestPeerWantsNothing: 0 as the peer's receive interval stops what is sent by the
// clock.
func TestPeerWantsNothing(t *testing.T) {
	w := newPair(every(100*time.Millisecond, 3), every(100*time.Millisecond, 3))
	w.run(time.Second)
	p := w.b.packet()
	p.minRx = 0
	w.a.receive(w.now, p)
	w.a.sent(w.now, 1)
	if w.a.next.Sub(w.now) < 10*time.Second {
		t.Errorf("the next one is due in %v", w.a.next.Sub(w.now))
	}
}

func TestForeignPackets(t *testing.T) {
	good := packet{state: Up, multiplier: 3, mine: 2, yours: 1, minTx: time.Second, minRx: time.Second}
	for what, edit := range map[string]func([]byte) []byte{
		"short":                        func(b []byte) []byte { return b[:20] },
		"length beyond the end":        func(b []byte) []byte { b[3] = 30; return b },
		"length too short":             func(b []byte) []byte { b[3] = 23; return b },
		"version 0":                    func(b []byte) []byte { b[0] = 0; return b },
		"no multiplier":                func(b []byte) []byte { b[2] = 0; return b },
		"authenticated":                func(b []byte) []byte { b[1] |= flagAuth; return b },
		"multipoint":                   func(b []byte) []byte { b[1] |= flagMultipart; return b },
		"no discriminator":             func(b []byte) []byte { copy(b[4:8], make([]byte, 4)); return b },
		"Up without our discriminator": func(b []byte) []byte { copy(b[8:12], make([]byte, 4)); return b },
		"empty":                        func([]byte) []byte { return nil },
	} {
		if p, err := parse(edit(good.bytes())); err == nil {
			t.Errorf("%s: taken as %+v", what, p)
		}
	}
	w := newPair(every(100*time.Millisecond, 3), every(100*time.Millisecond, 3))
	w.run(time.Second)
	good.state, good.yours = Down, 99
	if w.a.receive(w.now, good); w.a.state != Up {
		t.Error("a packet for another session ended this one")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(packet{state: Init, multiplier: 3, mine: 2, yours: 1, minTx: time.Second}.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		if again, err := parse(p.bytes()); err != nil || again != p {
			t.Errorf("%+v becomes %+v, %v", p, again, err)
		}
		s := newSession(every(time.Second, 3), p.yours, time.Unix(1, 0))
		s.receive(time.Unix(2, 0), p)
	})
}
