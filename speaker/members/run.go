package members

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"
)

const (
	bindRetry    = time.Second
	leaveTimeout = 500 * time.Millisecond // when Run ends without a Leave
	maxAnswers   = 40                     // of one who answers but does not contradict its death
)

// Run takes part until Leave or until the context ends; then it leaves too.
func (m *Members) Run(ctx context.Context) error {
	list, err := m.bind(ctx)
	if list == nil {
		return err
	}
	work, stop := context.WithCancel(ctx)
	g, work := errgroup.WithContext(work)
	g.Go(func() error { return m.question(work, list) })
	g.Go(func() error { return m.rejoin(work, list) })
	select {
	case <-ctx.Done():
		err = m.Leave(leaveTimeout)
	case <-m.leave:
	}
	stop()
	// A join in flight would panic on a list that is shut down.
	err = errors.Join(err, g.Wait())
	m.life.Lock()
	defer m.life.Unlock()
	m.list.Store(nil)
	if down := list.Shutdown(); down != nil {
		err = errors.Join(err, fmt.Errorf("members: shut down: %w", down))
	}
	return err
}

// bind opens the sockets. The address of a node may be late at boot, and a
// predecessor may still hold the port, so it tries until the end.
func (m *Members) bind(ctx context.Context) (*memberlist.Memberlist, error) {
	for first := true; ; first = false {
		list, err := memberlist.Create(m.config())
		if err == nil {
			m.list.Store(list)
			m.log.Info("gossip started", "bind", m.o.Bind, "advertise", m.o.Advertise, "encrypted", len(m.o.Key) > 0)
			return list, nil
		}
		if first {
			m.log.Error("gossip cannot start yet", "bind", m.o.Bind, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("members: bind to %v: %w", m.o.Bind, err)
		case <-m.leave:
			return nil, nil
		case <-time.After(bindRetry):
		}
	}
}

// question finds out whether those who are said to be dead are.
func (m *Members) question(ctx context.Context, list *memberlist.Memberlist) error {
	var g errgroup.Group
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-m.roster.doubt:
		}
		for name, addr := range m.roster.takeDoubted() {
			g.Go(func() error { m.inquest(ctx, list, name, addr); return nil })
		}
	}
}

// inquest asks a member that is said to be dead. The accuser may have been short
// of CPU; whoever answers is told of its death so that it can contradict.
func (m *Members) inquest(ctx context.Context, list *memberlist.Memberlist, name string, addr netip.AddrPort) {
	silent := 0
	for answers := 0; answers < maxAnswers && silent < m.o.Timings.Questions && m.roster.isDoubted(name) && ctx.Err() == nil; {
		switch m.ask(list, name, addr) {
		case silence:
			silent++
		case answer:
			silent = 0
			if answers++; answers%4 == 1 {
				_, _ = list.Join([]string{addr.String()})
			}
			sleep(ctx, m.o.Timings.GossipInterval)
		case overslept:
			answers++
		}
	}
	if m.roster.settle(name) {
		m.log.Warn("member failed", "node", name, "address", addr.Addr())
	}
}

type reply int

const (
	silence   reply = iota
	answer          // it is alive
	overslept       // we got no CPU ourselves, so that nothing follows from silence
)

// ask sends one question and waits for the answer.
func (m *Members) ask(list *memberlist.Memberlist, name string, addr netip.AddrPort) reply {
	start := time.Now()
	_, err := list.Ping(name, net.UDPAddrFromAddrPort(addr))
	switch {
	case err == nil:
		return answer
	case time.Since(start) > m.o.Timings.ProbeTimeout*3/2:
		return overslept
	}
	return silence
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
