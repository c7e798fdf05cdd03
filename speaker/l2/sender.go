package l2

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// burst is when an address is announced after it was claimed. Any single
	// frame may be lost, and a switch port that just came up may not forward yet.
	burst = []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}
	// verification is when it is asked who else answers for it. An owner that
	// hands over may answer for a moment longer.
	verification = []time.Duration{250 * time.Millisecond, time.Second, 3 * time.Second}
	once         = []time.Duration{0}
)

// chunk is how many frames are sent before the sender looks up: at the default
// rate, every 5 ms.
const chunk = 50

// wave is a set of addresses for which a frame is sent at several times.
type wave struct {
	start time.Time
	times []time.Duration
	send  func(netip.Addr) error
	addrs []netip.Addr
	id    uint64 // an address leaves the wave for a later one of the same kind; 0: never
	late  int    // rounds that others go first
	step  int    // of times, at which it is
	pos   int    // of addrs, within the step
}

func (w *wave) due() time.Time { return w.start.Add(w.times[w.step]) }

// round is what waves that are due at the same time are sorted by: the first
// announcement of one address goes before the second of another.
func (w *wave) round() int { return w.step + w.late }

// sender sends announcements and probes on one link, at a limited rate.
type sender struct {
	gap time.Duration // between two frames

	mu     sync.Mutex
	wake   chan struct{}
	waves  []*wave
	ids    uint64
	latest map[netip.Addr]uint64 // the last burst of an address
}

func newSender(rate int) *sender {
	return &sender{
		gap:    time.Second / time.Duration(rate),
		wake:   make(chan struct{}, 1),
		latest: map[netip.Addr]uint64{},
	}
}

// burst announces addresses in a burst and verifies that nobody else answers for
// them. A burst that is under way for an address ends.
func (s *sender) burst(addrs []netip.Addr, announce, probe func(netip.Addr) error) {
	if len(addrs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	for _, a := range addrs {
		s.latest[a] = s.ids
	}
	now := time.Now()
	s.waves = append(s.waves,
		&wave{start: now, times: burst, send: announce, addrs: addrs, id: s.ids},
		&wave{start: now, times: verification, send: probe, addrs: addrs, id: s.ids, late: 1})
	s.poke()
}

// once sends one frame for each address.
func (s *sender) once(addrs []netip.Addr, send func(netip.Addr) error) {
	if len(addrs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waves = append(s.waves, &wave{start: time.Now(), times: once, send: send, addrs: addrs})
	s.poke()
}

func (s *sender) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// forget ends the bursts of addresses that are withdrawn.
func (s *sender) forget(addrs []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range addrs {
		delete(s.latest, a)
	}
}

// run sends until ctx ends.
func (s *sender) run(ctx context.Context) {
	backOff := time.Duration(0)
	for ctx.Err() == nil {
		w, wait := s.next(time.Now())
		if w == nil {
			s.sleep(ctx, wait)
			continue
		}
		sent, err := s.advance(w)
		backOff = nextBackOff(backOff, err)
		pause(ctx, s.gap*time.Duration(sent)+backOff)
	}
}

// nextBackOff gives a queue that is full time to drain.
func nextBackOff(before time.Duration, err error) time.Duration {
	if err == nil {
		return 0
	}
	return min(max(2*before, 2*time.Millisecond), 100*time.Millisecond)
}

// next returns a wave that is due, or for how long there is none.
func (s *sender) next(now time.Time) (due *wave, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = time.Hour
	kept := s.waves[:0]
	for _, w := range s.waves {
		if w.step == len(w.times) {
			continue
		}
		kept = append(kept, w)
		if left := w.due().Sub(now); left > 0 {
			wait = min(wait, left)
		} else if due == nil || w.round() < due.round() {
			due = w
		}
	}
	clear(s.waves[len(kept):])
	s.waves = kept
	return due, wait
}

// advance sends the next frames of a wave, and tells how many. It fails, and
// will go on at the same address, if the queue of the link is full.
func (s *sender) advance(w *wave) (sent int, err error) {
	for ; sent < chunk && w.pos < len(w.addrs); w.pos++ {
		if a := w.addrs[w.pos]; s.current(w, a) {
			// Other errors are of a link that is down, and it will be announced
			// anew when it is up again.
			if err := w.send(a); full(err) {
				return sent, err
			}
			sent++
		}
	}
	if w.pos == len(w.addrs) {
		w.step, w.pos = w.step+1, 0
	}
	return sent, nil
}

func (s *sender) current(w *wave, a netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.id == 0 || s.latest[a] == w.id
}

func (s *sender) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.wake:
	case <-t.C:
	}
}

// pause is not cut short by new work, else that would outrun the rate.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// full tells whether a frame could not be sent only because the queue of the
// link has no room now.
func full(err error) bool { return errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) }
