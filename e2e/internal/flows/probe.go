package flows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/e2e/internal/echo"
)

// ProbeOptions ask for one new flow every interval.
type ProbeOptions struct {
	Target   Target
	Interval time.Duration // zero: 10ms
	Timeout  time.Duration // zero: 1s
	Duration time.Duration // required, at most an hour
}

const (
	maxDuration = time.Hour
	minInterval = time.Millisecond
)

func (o *ProbeOptions) check() error {
	setDefault(&o.Interval, 10*time.Millisecond)
	setDefault(&o.Timeout, time.Second)
	if o.Duration <= 0 || o.Duration > maxDuration {
		return fmt.Errorf("duration %v: need up to %v", o.Duration, maxDuration)
	}
	if o.Interval < minInterval {
		return fmt.Errorf("interval %v: need at least %v", o.Interval, minInterval)
	}
	return nil
}

// Probe tells when the target did not answer. Times are those of sending.
type Probe struct {
	Target    string         `json:"target"`
	Proto     string         `json:"proto"`
	Sent      int            `json:"sent"`
	Lost      int            `json:"lost"`
	Errors    map[string]int `json:"errors,omitempty"`
	LongestMS float64        `json:"longest_outage_ms"`
	FirstLoss *time.Time     `json:"first_loss,omitempty"`
	LastLoss  *time.Time     `json:"last_loss,omitempty"`
	Outages   []Outage       `json:"outages"`
	Pods      []PodCount     `json:"pods"`
	Begin     time.Time      `json:"begin"`
	End       time.Time      `json:"end"`
}

// Outage is a run of lost probes with an answered one, or nothing, on each side.
type Outage struct {
	First      time.Time `json:"first"` // lost
	Last       time.Time `json:"last"`
	Lost       int       `json:"lost"`
	DurationMS float64   `json:"duration_ms"` // from the first lost to the first answered after it, or to the end
}

type probeResult struct {
	sent time.Time
	ok   bool
}

// RunProbe sends probes until the duration or ctx is over. A probe that takes
// long does not delay the next.
func RunProbe(ctx context.Context, o ProbeOptions) (Probe, error) {
	if err := o.check(); err != nil {
		return Probe{}, err
	}
	var (
		mu      sync.Mutex
		count   tally
		results []probeResult
	)
	begin := time.Now()
	every(ctx, o.Interval, o.Duration, func(ctx context.Context) {
		sent := time.Now()
		r, err := o.once(ctx)
		mu.Lock()
		defer mu.Unlock()
		count.add(r, err)
		results = append(results, probeResult{sent, err == nil})
	})
	p := summary(results, time.Now())
	p.Target, p.Proto = o.Target.Addr.String(), o.Target.Proto
	p.Errors, p.Pods, p.Begin = count.errors, count.pods(), begin
	return p, nil
}

// every calls f in a goroutine of its own at each interval, and waits for all
// calls at the end. The end of ctx ends the sending, not what is in flight.
func every(ctx context.Context, interval, duration time.Duration, f func(context.Context)) {
	sending, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, MaxFlows/10)
	for {
		select {
		case slots <- struct{}{}:
			calls.Go(func() {
				defer func() { <-slots }()
				f(context.WithoutCancel(ctx))
			})
		default: // too many in flight: the kernel would run out of ports
		}
		select {
		case <-sending.Done():
			return
		case <-tick.C:
		}
	}
}

func (o ProbeOptions) once(ctx context.Context) (echo.Reply, error) {
	c, err := o.Target.dial(ctx, 0, o.Timeout)
	if err != nil {
		return echo.Reply{}, err
	}
	defer hangUp(c)
	return ask(c, question)
}

// summary finds the outages in a set of results.
func summary(results []probeResult, end time.Time) Probe {
	slices.SortFunc(results, func(a, b probeResult) int { return a.sent.Compare(b.sent) })
	p := Probe{Sent: len(results), Outages: []Outage{}, End: end}
	var now *Outage
	finish := func(at time.Time) {
		if now == nil {
			return
		}
		now.DurationMS = milliseconds(at.Sub(now.First))
		p.LongestMS = max(p.LongestMS, now.DurationMS)
		p.Outages = append(p.Outages, *now)
		now = nil
	}
	for _, r := range results {
		if r.ok {
			finish(r.sent)
			continue
		}
		if now == nil {
			now = &Outage{First: r.sent}
		}
		now.Last = r.sent
		now.Lost++
		p.Lost++
	}
	finish(end)
	if n := len(p.Outages); n > 0 {
		p.FirstLoss, p.LastLoss = &p.Outages[0].First, &p.Outages[n-1].Last
	}
	return p
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// First is the first good answer.
type First struct {
	Target      string  `json:"target"`
	Proto       string  `json:"proto"`
	Pod         string  `json:"pod"`
	Node        string  `json:"node"`
	Client      string  `json:"client"`
	Attempts    int     `json:"attempts"`
	SentNS      int64   `json:"sent_unix_ns"` // of the attempt that succeeded
	AnsweredNS  int64   `json:"answered_unix_ns"`
	MonotonicNS int64   `json:"answered_monotonic_ns"` // CLOCK_MONOTONIC, for all processes of the machine
	WaitedMS    float64 `json:"waited_ms"`             // since the start
}

// ErrNoAnswer tells that the duration ended before the first answer.
var ErrNoAnswer = errors.New("no answer")

// RunFirst tries every interval until the first good answer, each try on its
// own, so that one that was sent too early does not hide when the way opened.
func RunFirst(ctx context.Context, o ProbeOptions) (First, error) {
	setDefault(&o.Interval, 2*time.Millisecond)
	setDefault(&o.Timeout, 250*time.Millisecond)
	if err := o.check(); err != nil {
		return First{}, err
	}
	ctx, found := context.WithCancel(ctx)
	defer found()
	first := First{Target: o.Target.Addr.String(), Proto: o.Target.Proto}
	var mu sync.Mutex
	begin := time.Now()
	every(ctx, o.Interval, o.Duration, func(ctx context.Context) {
		sent := time.Now()
		r, err := o.once(ctx)
		answered, mono := time.Now(), monotonic()
		mu.Lock()
		defer mu.Unlock()
		first.Attempts++
		if err != nil || first.AnsweredNS != 0 && first.AnsweredNS < answered.UnixNano() {
			return
		}
		first.Pod, first.Node, first.Client = r.Pod, r.Node, r.Client
		first.SentNS, first.AnsweredNS, first.MonotonicNS = sent.UnixNano(), answered.UnixNano(), mono
		first.WaitedMS = milliseconds(answered.Sub(begin))
		found()
	})
	if first.AnsweredNS == 0 {
		return first, fmt.Errorf("%s %s: %w in %v, %d tries", first.Proto, first.Target, ErrNoAnswer, o.Duration, first.Attempts)
	}
	return first, nil
}

func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
