package layer2

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// probing is a client that opens a connection to an address every 10 ms. It asks
// for its neighbour only if it has to, as clients do.
type probing struct {
	addr netip.Addr
	cmd  *exec.Cmd
	out  bytes.Buffer
}

// probe starts a client somewhere on the segment.
func probe(t *testing.T, place string, a netip.Addr) *probing {
	t.Helper()
	bin, err := lab.BinDir()
	must(t, err)
	// Before all others: a client that gets no CPU sees outages that are none.
	cmd, err := herald.Command(t.Context(), place, "nice", "-n", "-15", filepath.Join(bin, "flows"), "probe", "--interval", "10ms",
		"--duration", "10m", "--target", stage.Target(a))
	must(t, err)
	p := &probing{addr: a, cmd: cmd}
	p.cmd.Stdout = &p.out
	must(t, p.cmd.Start())
	return p
}

// end ends the client and returns what it has seen.
func (p *probing) end(t *testing.T) flows.Probe {
	t.Helper()
	must(t, p.cmd.Process.Signal(syscall.SIGINT))
	_ = p.cmd.Wait() // what it printed tells
	var got flows.Probe
	must(t, json.Unmarshal(p.out.Bytes(), &got))
	if got.Sent == 0 {
		t.Fatalf("nothing was sent to %s", p.addr)
	}
	for _, o := range got.Outages {
		t.Logf("%s: %d lost in %.0f ms from %s on", got.Target, o.Lost, o.DurationMS, o.First.Format("15:04:05.000"))
	}
	if got.Lost > 0 {
		t.Logf("%s: %d of %d lost: %v", got.Target, got.Lost, got.Sent, got.Errors)
	}
	return got
}

// longest is the longest outage that a client has seen.
func longest(p flows.Probe) time.Duration {
	return time.Duration(p.LongestMS * float64(time.Millisecond))
}

// newcomers are clients without a cache: one that asks for each address all the
// time. It tells for how long nobody answered.
type newcomers struct {
	wire  *wire
	addrs []netip.Addr
	stop  context.CancelFunc
	done  sync.WaitGroup

	since map[netip.Addr]time.Time // asked and not answered
	gaps  map[netip.Addr]time.Duration
	err   error
}

// askOften is how often newcomers ask.
const askOften = 5 * time.Millisecond

// ask starts to ask for addresses that somebody answers for.
func newcomersFor(t *testing.T, addrs ...netip.Addr) *newcomers {
	t.Helper()
	n := &newcomers{wire: openWire(t), addrs: addrs, since: map[netip.Addr]time.Time{}, gaps: map[netip.Addr]time.Duration{}}
	ctx, stop := context.WithCancel(t.Context())
	n.stop = stop
	n.done.Go(func() { n.run(ctx) })
	return n
}

func (n *newcomers) run(ctx context.Context) {
	tick := time.NewTicker(askOften)
	defer tick.Stop()
	for turn := time.Now(); ctx.Err() == nil && n.err == nil; <-tick.C {
		now := time.Now()
		if slept := now.Sub(turn); slept > 3*askOften {
			n.forgive(slept)
		}
		turn = now
		for _, h := range n.wire.hear() {
			if h.ours {
				n.answered(h.addr, now)
			}
		}
		for _, a := range n.addrs {
			if _, ok := n.since[a]; !ok {
				n.since[a] = now
			}
			n.err = cmp.Or(n.err, n.wire.send(n.wire.request(a)))
		}
	}
}

// forgive leaves a time out in which we got no CPU, and so heard nothing.
func (n *newcomers) forgive(d time.Duration) {
	for a, t := range n.since {
		n.since[a] = t.Add(d)
	}
}

func (n *newcomers) answered(a netip.Addr, now time.Time) {
	if t, ok := n.since[a]; ok {
		n.gaps[a] = max(n.gaps[a], now.Sub(t))
		delete(n.since, a)
	}
}

// end returns the longest time without an answer for any of the addresses.
func (n *newcomers) end(t *testing.T) (most time.Duration) {
	t.Helper()
	n.stop()
	n.done.Wait()
	must(t, n.err)
	for _, a := range n.addrs {
		n.answered(a, time.Now())
		most = max(most, n.gaps[a])
	}
	return most
}

// figures are durations to be judged by their median.
type figures []time.Duration

func (f figures) median() time.Duration {
	s := slices.Sorted(slices.Values(f))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (f figures) most() time.Duration { return slices.Max(f) }

// millis is f in the order in which it was measured, for people.
func (f figures) millis() (out []int64) {
	for _, d := range f {
		out = append(out, d.Milliseconds())
	}
	return out
}

// newcomers judges how long newcomers got no answer. A single figure may be that
// of a machine which was busy elsewhere.
func (f figures) newcomers(t *testing.T) {
	t.Helper()
	t.Logf("longest time without an answer to newcomers, ms: %v", f.millis())
	if m, limit := f.median(), stage.Bound(100*time.Millisecond); m >= limit {
		t.Errorf("newcomers were without an answer for a median of %s, want less than %s", m, limit)
	}
}
