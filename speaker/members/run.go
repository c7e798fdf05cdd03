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
	maxAnswers   = 150                    // of one who answers but does not contradict its death: 3s
)

// Run takes part until Leave or until the context ends; then it leaves too.
func (m *Members) Run(ctx context.Context) error {
	list, err := m.bind(ctx)
	if list == nil {
		return err
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	g, work := errgroup.WithContext(work)
	g.Go(func() error { return m.question(work, list) })
	g.Go(func() error { return m.rejoin(work, list) })
	g.Go(func() error { return m.report(work) })
	select {
	case <-ctx.Done():
		err = m.Leave(leaveTimeout)
	case <-m.leave:
	}
	stop()
	return errors.Join(err, g.Wait(), m.shutdown(list))
}

func (m *Members) shutdown(list *memberlist.Memberlist) error {
	m.life.Lock()
	defer m.life.Unlock()
	m.list.Store(nil)
	// An exchange of states that is still under way changes nothing any more.
	m.roster.close()
	if err := list.Shutdown(); err != nil {
		return fmt.Errorf("members: shut down: %w", err)
	}
	return nil
}

// bind opens the sockets. The address of a node may be late at boot, and a
// predecessor may still hold the port, so it tries until the end.
func (m *Members) bind(ctx context.Context) (*memberlist.Memberlist, error) {
	for first := true; ; first = false {
		list, err := m.create()
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

func (m *Members) create() (*memberlist.Memberlist, error) {
	c, err := m.config()
	if err != nil {
		return nil, err
	}
	return memberlist.Create(c)
}

// report logs who comes and goes. The roster cannot: it is called under locks.
func (m *Members) report(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-m.roster.news:
			log := m.log.With("node", n.node, "address", n.addr.Addr())
			switch n.what {
			case joined:
				log.Info("member joined")
			case left:
				log.Info("member left")
			case failed:
				log.Warn("member failed")
			}
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
				go func() { _, _ = list.Join([]string{addr.String()}) }()
			}
			sleep(ctx, m.o.Timings.GossipInterval)
		case overslept:
			answers++
		}
	}
	m.roster.settle(name)
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
