package l2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/bubble"
)

// recorder notes when what was sent.
type recorder struct {
	mu    sync.Mutex
	start time.Time
	sent  []string
	at    map[netip.Addr][]time.Duration
	full  int // so many frames find no room
}

func newRecorder() *recorder {
	return &recorder{start: time.Now(), at: map[netip.Addr][]time.Duration{}}
}

func (r *recorder) as(kind string) func(netip.Addr) error {
	return func(a netip.Addr) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.full > 0 {
			r.full--
			return unix.ENOBUFS
		}
		r.at[a] = append(r.at[a], time.Since(r.start))
		r.sent = append(r.sent, fmt.Sprintf("%v %s", time.Since(r.start).Round(50*time.Millisecond), kind))
		return nil
	}
}

// rest lets time pass, and what is due then happen.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// sending runs a sender in a bubble with a clock of its own.
func sending(t *testing.T, rate int, f func(s *sender, r *recorder)) {
	bubble.Test(t, func(t *testing.T) {
		s, r := newSender(rate), newRecorder()
		ctx, stop := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { s.run(ctx) })
		f(s, r)
		stop()
		done.Wait()
	})
}

func many(n int) (out []netip.Addr) {
	for i := range n {
		out = append(out, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
	}
	return out
}

func TestSenderTimes(t *testing.T) {
	sending(t, 10_000, func(s *sender, r *recorder) {
		s.burst(many(1), r.as("announce"), r.as("probe"))
		rest(10 * time.Second)
		want := "0s announce, 100ms announce, 250ms probe, 300ms announce, 1s announce, 1s probe, 2s announce, 3s probe, 4s announce"
		slices.Sort(r.sent)
		all := strings.Split(want, ", ")
		slices.Sort(all)
		if !slices.Equal(r.sent, all) {
			t.Errorf("got %q", r.sent)
		}
	})
}

func TestSenderKeepsItsRate(t *testing.T) {
	sending(t, 10_000, func(s *sender, r *recorder) {
		s.burst(many(3000), r.as("announce"), r.as("probe"))
		rest(20 * time.Second)
		var all []time.Duration
		for a, at := range r.at {
			if len(at) != len(burst)+len(verification) {
				t.Fatalf("%v was sent %d times", a, len(at))
			}
			if at[0] > 310*time.Millisecond {
				t.Errorf("%v was first announced after %v", a, at[0])
			}
			all = append(all, at...)
		}
		slices.Sort(all)
		for i := range len(all) - 1000 {
			if took := all[i+1000] - all[i]; took < 90*time.Millisecond {
				t.Fatalf("1,000 frames within %v", took)
			}
		}
	})
}

func TestSenderWaitsForRoom(t *testing.T) {
	sending(t, 10_000, func(s *sender, r *recorder) {
		r.full = 5
		s.burst(many(100), r.as("announce"), r.as("probe"))
		rest(10 * time.Second)
		for a, at := range r.at {
			if len(at) != len(burst)+len(verification) {
				t.Errorf("%v was sent %d times", a, len(at))
			}
		}
	})
}

func TestSenderNewAddressGoesFirst(t *testing.T) {
	sending(t, 1000, func(s *sender, r *recorder) {
		s.burst(many(2000), r.as("announce"), r.as("probe"))
		rest(2500 * time.Millisecond) // the first round is over, others are late
		late := netip.MustParseAddr("192.0.2.1")
		now := time.Since(r.start)
		s.burst([]netip.Addr{late}, r.as("announce"), r.as("probe"))
		rest(10 * time.Second)
		if at := r.at[late]; len(at) == 0 || at[0]-now > 60*time.Millisecond {
			t.Errorf("first announced %v after it was claimed at %v", at, now)
		}
	})
}

func TestSenderForgets(t *testing.T) {
	sending(t, 10_000, func(s *sender, r *recorder) {
		list := many(2)
		s.burst(list, r.as("announce"), r.as("probe"))
		rest(500 * time.Millisecond)
		s.forget(list[:1])
		rest(200 * time.Millisecond)
		s.burst(list[1:], r.as("announce"), r.as("probe"))
		rest(10 * time.Second)
		if n := len(r.at[list[0]]); n != 4 {
			t.Errorf("the withdrawn address was sent %d times, want 4 before it was withdrawn", n)
		}
		if n, want := len(r.at[list[1]]), 4+len(burst)+len(verification); n != want {
			t.Errorf("the address announced anew was sent %d times, want %d: the first burst must end", n, want)
		}
	})
}
