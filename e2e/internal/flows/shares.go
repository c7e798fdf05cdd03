package flows

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/heraldlb/herald/e2e/internal/echo"
)

// SharesOptions ask for a number of separate flows.
type SharesOptions struct {
	Target      Target
	N           int           // required
	Concurrency int           // zero: 64
	Timeout     time.Duration // of one try; zero: 2s
	Tries       int           // datagrams of one UDP flow; zero: 3
	FirstPort   uint16        // source ports are taken from here upwards; zero: random
}

// Shares tell who has answered how many of them.
type Shares struct {
	Target  string         `json:"target"`
	Proto   string         `json:"proto"`
	Flows   int            `json:"flows"`
	Failed  int            `json:"failed"`
	Errors  map[string]int `json:"errors,omitempty"` // by kind
	Pods    []PodCount     `json:"pods"`
	Clients map[string]int `json:"clients"` // source addresses as the servers saw them
	Seconds float64        `json:"seconds"`
}

const (
	lowestPort  = 2048
	highestPort = 65535
)

// RunShares opens N flows, each from its own source port: routers and
// connection tracking tell flows by it, and one that is used twice is the same
// flow to them.
func RunShares(ctx context.Context, o SharesOptions) (Shares, error) {
	if o.N < 1 || o.N > MaxFlows {
		return Shares{}, fmt.Errorf("%d flows: need 1 to %d", o.N, MaxFlows)
	}
	setDefault(&o.Concurrency, 64)
	setDefault(&o.Timeout, 2*time.Second)
	setDefault(&o.Tries, 3)
	if o.FirstPort < lowestPort {
		o.FirstPort = lowestPort + uint16(rand.IntN(highestPort-lowestPort))
	}
	begin := time.Now()
	t := o.run(ctx)
	return Shares{
		Target: o.Target.Addr.String(), Proto: o.Target.Proto, Flows: o.N,
		Failed: t.failed(), Errors: t.errors, Pods: t.pods(), Clients: t.clients,
		Seconds: time.Since(begin).Seconds(),
	}, ctx.Err()
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// run shares flows and ports out to workers.
func (o SharesOptions) run(ctx context.Context) *tally {
	var (
		flows, ports atomic.Int64
		mu           sync.Mutex
		total        tally
		workers      sync.WaitGroup
	)
	nextPort := func() uint16 { return portAfter(o.FirstPort, ports.Add(1)-1) }
	for range o.Concurrency {
		workers.Go(func() {
			for flows.Add(1) <= int64(o.N) && ctx.Err() == nil {
				r, err := o.one(ctx, nextPort)
				mu.Lock()
				total.add(r, err)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return &total
}

func portAfter(first uint16, n int64) uint16 {
	const size = highestPort - lowestPort + 1
	return lowestPort + uint16((int64(first-lowestPort)+n)%size)
}

// one is one flow. A port that somebody else has costs no flow, only a port.
func (o SharesOptions) one(ctx context.Context, nextPort func() uint16) (echo.Reply, error) {
	for range 100 {
		c, err := o.Target.dial(ctx, nextPort(), o.Timeout)
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue
		}
		if err != nil {
			return echo.Reply{}, err
		}
		defer hangUp(c)
		return o.askAgain(c)
	}
	return echo.Reply{}, errors.New("no free source port")
}

// askAgain repeats a lost datagram; TCP does so by itself.
func (o SharesOptions) askAgain(c net.Conn) (r echo.Reply, err error) {
	tries := 1
	if o.Target.Proto == "udp" {
		tries = o.Tries
	}
	for range tries {
		if err = c.SetDeadline(time.Now().Add(o.Timeout)); err != nil {
			return r, err
		}
		if r, err = ask(c, question); err == nil {
			return r, nil
		}
	}
	return r, err
}
