package flows

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/internal/share"
)

const (
	askWithin = 3 * time.Second
	askAtOnce = 10
)

// judge asks the other nodes and judges, until ctx ends.
func (m *Meter) judge(ctx context.Context) {
	if m.o.Ask == nil {
		return
	}
	tick := time.NewTicker(m.o.JudgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.round(ctx)
		}
	}
}

// round judges all addresses that are this node's to judge.
func (m *Meter) round(ctx context.Context) {
	mine := m.mine()
	nodes := map[string]bool{}
	for _, a := range mine {
		for _, n := range a.Nodes {
			nodes[n.Node] = n.Node != m.o.Node
		}
	}
	heard, unheard := m.hear(ctx, nodes)
	if ctx.Err() != nil {
		return
	}
	heard = append(heard, share.Heard{Node: m.o.Node, Report: m.Report()})
	var verdicts []share.Verdict
	for _, a := range mine {
		verdicts = append(verdicts, share.Judge(a.Addr, heard))
	}
	m.unheard.Store(&unheard)
	m.verdicts.Store(&verdicts)
	m.tell(verdicts)
}

// mine are the addresses of which this node is the first that announces them.
func (m *Meter) mine() []share.Address {
	return First(m.Report(), m.o.Node).Addresses
}

// First leaves only the addresses that a node judges.
func First(r share.Report, node string) share.Report {
	r.Addresses = slices.DeleteFunc(slices.Clone(r.Addresses), func(a share.Address) bool {
		return len(a.Nodes) < 2 || a.Nodes[0].Node != node
	})
	return r
}

// hear asks the nodes of which it is said that they are to be asked.
func (m *Meter) hear(ctx context.Context, nodes map[string]bool) (heard []share.Heard, unheard map[string]string) {
	at := m.o.Situation().Nodes
	unheard = map[string]string{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(askAtOnce)
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		if !nodes[node] {
			continue
		}
		g.Go(func() error {
			r, why := m.ask(ctx, at[node])
			mu.Lock()
			defer mu.Unlock()
			if why != "" {
				unheard[node] = why
				return nil
			}
			heard = append(heard, share.Heard{Node: node, Report: r})
			return nil
		})
	}
	_ = g.Wait() // there are no errors
	return heard, unheard
}

func (m *Meter) ask(ctx context.Context, at netip.Addr) (share.Report, string) {
	if !at.IsValid() {
		return share.Report{}, "the Node has no InternalIP"
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	r, err := m.o.Ask(ctx, at)
	if err != nil {
		return r, err.Error()
	}
	return r, ""
}

// tell says what has turned out wrong, and what is right again.
func (m *Meter) tell(verdicts []share.Verdict) {
	judged := map[netip.Addr]bool{}
	for _, v := range verdicts {
		judged[v.Addr] = true
		switch {
		case v.Kind == share.Wrong && !m.wrong[v.Addr]:
			m.wrong[v.Addr] = true
			m.o.Log.Warn("flows do not follow the weights", "address", v.Addr, "verdict", v.Says())
			if m.o.Wrong != nil {
				m.o.Wrong(v)
			}
		case v.Kind == share.Right && m.wrong[v.Addr]:
			delete(m.wrong, v.Addr)
			m.o.Log.Info("flows follow the weights", "address", v.Addr)
		}
	}
	for a := range m.wrong {
		if !judged[a] {
			delete(m.wrong, a)
		}
	}
}
