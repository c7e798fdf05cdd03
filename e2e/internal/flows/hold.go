package flows

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/heraldlb/herald/e2e/internal/echo"
)

// HoldOptions ask for connections that stay open.
type HoldOptions struct {
	Target   Target        // TCP
	N        int           // required
	Interval time.Duration // between the requests of one connection; zero: 100ms
	Timeout  time.Duration // an answer that takes longer is a hang; zero: 2s
	Size     int           // bytes of a request, at most a megabyte; zero: 2
	Duration time.Duration // required, at most an hour

	request []byte
}

// Hold tells what has become of them.
type Hold struct {
	Target      string         `json:"target"`
	Connections int            `json:"connections"`
	Established int            `json:"established"`
	Requests    int            `json:"requests"` // answered
	Broken      int            `json:"broken"`   // of the established
	Kinds       map[string]int `json:"kinds"`    // of the broken: reset, timeout, closed, moved ...
	Pods        []HoldPod      `json:"pods"`     // by the pod that answered first
	FirstBroken *time.Time     `json:"first_broken,omitempty"`
	LastBroken  *time.Time     `json:"last_broken,omitempty"`
	Failed      map[string]int `json:"failed,omitempty"` // never established
}

// HoldPod is one pod's part.
type HoldPod struct {
	Pod         string `json:"pod"`
	Node        string `json:"node"`
	Established int    `json:"established"`
	Broken      int    `json:"broken"`
}

// held is the fate of one connection.
type held struct {
	first    echo.Reply
	failed   error // before the first answer
	broken   error // after it
	brokenAt time.Time
	requests int
}

// RunHold opens the connections over the first interval, asks on each until the
// duration or ctx is over, and does not open a broken one again.
func RunHold(ctx context.Context, o HoldOptions) (Hold, error) {
	setDefault(&o.Interval, 100*time.Millisecond)
	setDefault(&o.Timeout, 2*time.Second)
	if o.Target.Proto != "tcp" {
		return Hold{}, fmt.Errorf("protocol %s: only tcp has connections", o.Target.Proto)
	}
	if o.N < 1 || o.N > MaxFlows || o.Duration <= 0 || o.Duration > maxDuration {
		return Hold{}, fmt.Errorf("%d connections for %v: need 1 to %d, up to %v", o.N, o.Duration, MaxFlows, maxDuration)
	}
	if o.Size < 0 || o.Size > 1<<20 {
		return Hold{}, fmt.Errorf("requests of %d bytes: at most %d", o.Size, 1<<20)
	}
	o.request = append(bytes.Repeat(question[:1], max(o.Size-1, 1)), '\n')
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	fates := make([]held, o.N)
	var all sync.WaitGroup
	for i := range fates {
		all.Go(func() { fates[i] = o.hold(ctx) })
	}
	all.Wait()
	return o.summary(fates), nil
}

// hold is one connection's life. The end of ctx is its good end.
func (o HoldOptions) hold(ctx context.Context) (h held) {
	if !pause(ctx, rand.N(o.Interval)) {
		return h
	}
	c, err := o.Target.dial(context.WithoutCancel(ctx), 0, o.Timeout)
	if err != nil {
		h.failed = err
		return h
	}
	defer hangUp(c)
	if h.first, h.failed = o.ask(c); h.failed != nil {
		return h
	}
	for h.requests = 1; pause(ctx, o.Interval); h.requests++ {
		r, err := o.ask(c)
		if err == nil && r != h.first {
			err = errMoved
		}
		if err != nil {
			h.broken, h.brokenAt = err, time.Now()
			return h
		}
	}
	return h
}

// errMoved would mean that a connection is answered by another pod, or seen
// from another address, than it began with.
var errMoved = fmt.Errorf("moved")

func (o HoldOptions) ask(c net.Conn) (echo.Reply, error) {
	if err := c.SetDeadline(time.Now().Add(o.Timeout)); err != nil {
		return echo.Reply{}, err
	}
	return ask(c, o.request)
}

// pause returns false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (o HoldOptions) summary(fates []held) Hold {
	h := Hold{Target: o.Target.Addr.String(), Connections: len(fates), Kinds: map[string]int{}, Failed: map[string]int{}, Pods: []HoldPod{}}
	var began tally
	broken := map[server]int{}
	for _, f := range fates {
		if f.failed != nil {
			h.Failed[kindOf(f.failed)]++
			continue
		}
		if f.requests == 0 {
			continue
		}
		began.add(f.first, nil)
		h.Established++
		h.Requests += f.requests
		if f.broken == nil {
			continue
		}
		h.Broken++
		h.Kinds[kindOf(f.broken)]++
		broken[server{f.first.Pod, f.first.Node}]++
		if h.FirstBroken == nil || f.brokenAt.Before(*h.FirstBroken) {
			h.FirstBroken = &f.brokenAt
		}
		if h.LastBroken == nil || f.brokenAt.After(*h.LastBroken) {
			h.LastBroken = &f.brokenAt
		}
	}
	for _, p := range began.pods() {
		h.Pods = append(h.Pods, HoldPod{p.Pod, p.Node, p.Flows, broken[server{p.Pod, p.Node}]})
	}
	return h
}
