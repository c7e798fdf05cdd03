package main

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	knocks        = 2
	knockFor      = 100 * time.Millisecond
	knocksAtATime = 16
)

// silence tells the nodes that are dead from those of which only the speaker is:
// the tables of the latter go on answering.
type silence struct {
	answers func(context.Context, netip.AddrPort) bool
	silent  map[string]bool
}

// update takes the nodes that the gossip has lost, and where their speakers were.
// It returns those of which nothing is heard. Until its speaker is back such a node
// stays one: it has come up without tables.
func (s *silence) update(ctx context.Context, lost map[string]netip.AddrPort) map[string]bool {
	var mu sync.Mutex
	now := map[string]bool{}
	var g errgroup.Group
	g.SetLimit(knocksAtATime)
	for node, at := range lost {
		g.Go(func() error {
			if !s.silent[node] && s.answers(ctx, at) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			now[node] = true
			return nil
		})
	}
	_ = g.Wait() // there are no errors
	s.silent = now
	return maps.Clone(now)
}

// answers tells whether a host answers, be it only that nobody listens there.
func answers(ctx context.Context, at netip.AddrPort) bool {
	d := net.Dialer{Timeout: knockFor}
	for range knocks {
		c, err := d.DialContext(ctx, "tcp", at.String())
		if err == nil {
			_ = c.Close()
			return true
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
	}
	return false
}
