package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/speaker/plan"
)

// rescueEvery is how often the peers are looked for again: a node that comes back
// may have another MAC, and somebody may have flushed our table.
const rescueEvery = 5 * time.Second

// rescuer keeps the dataplane's tables equal to what the plan says of rescue.
type rescuer struct {
	log    *slog.Logger
	rescue *dataplane.Rescue
	wake   chan struct{}
	probed map[bool]bool // for IPv6, for IPv4

	mu    sync.Mutex
	want  plan.Rescue
	state rescueState
}

// rescueState is for /state and metrics.
type rescueState struct {
	On       bool
	Why      string   // it is off, or not whole
	Peers    []string // that are asked
	Counters dataplane.RescueCounters
}

func newRescuer(log *slog.Logger) *rescuer {
	return &rescuer{log: log, rescue: dataplane.NewRescue(log), wake: make(chan struct{}, 1), probed: map[bool]bool{}}
}

// Apply implements speaker.Announcer. What cannot be done shows in the state: no
// route waits for it.
func (r *rescuer) Apply(_ context.Context, t plan.Table) error {
	r.mu.Lock()
	r.want = t.Rescue
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return nil
}

// State is what is so now.
func (r *rescuer) State() rescueState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Run works until ctx ends. The tables stay: the next speaker goes on with them.
func (r *rescuer) Run(ctx context.Context) error {
	tick := time.NewTicker(rescueEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-tick.C:
		}
		st := r.step(ctx)
		r.mu.Lock()
		before := r.state
		r.state = st
		r.mu.Unlock()
		if before.On != st.On || before.Why != st.Why {
			r.log.Info("flow rescue", "on", st.On, "peers", st.Peers, "why", st.Why)
		}
	}
}

func (r *rescuer) step(ctx context.Context) rescueState {
	r.mu.Lock()
	want := r.want
	r.mu.Unlock()
	if len(want.Services) == 0 {
		if err := r.rescue.Remove(ctx); err != nil {
			return rescueState{Why: err.Error()}
		}
		return rescueState{Why: "no pool whose flows could be rescued"}
	}
	if err := r.probe(ctx, want); err != nil {
		return rescueState{Why: err.Error()}
	}
	spec, asked, problem := r.spec(ctx, want)
	if err := r.rescue.Set(ctx, spec); err != nil {
		return rescueState{Why: err.Error()}
	}
	st := rescueState{On: true, Why: problem, Peers: asked}
	counters, err := r.rescue.Counters()
	if err != nil {
		st.Why = cmp.Or(st.Why, err.Error())
	}
	st.Counters = counters
	return st
}

// probe asks once, for the families that are wanted. What was possible stays so.
func (r *rescuer) probe(ctx context.Context, want plan.Rescue) error {
	for _, s := range want.Services {
		v6 := s.Addr.Is6()
		if r.probed[v6] {
			continue
		}
		err := r.rescue.Probe(ctx, v6)
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w; apply manifests/overlays/flow-rescue, which permits it", err)
		}
		if err != nil {
			return err
		}
		r.probed[v6] = true
	}
	return nil
}

// spec finds out where the peers are.
func (r *rescuer) spec(ctx context.Context, want plan.Rescue) (spec dataplane.RescueSpec, asked []string, problem string) {
	for _, s := range want.Services {
		spec.Services = append(spec.Services, dataplane.RescueService(s))
	}
	var addrs []netip.Addr
	for _, p := range want.Peers {
		addrs = append(addrs, addrOf(p))
	}
	where, err := dataplane.Neighbours(ctx, addrs)
	if err != nil {
		return spec, nil, err.Error()
	}
	for _, p := range want.Peers {
		n, ok := where[addrOf(p)]
		if !ok {
			problem = cmp.Or(problem, "node "+p.Name+" is not on a segment of this node's: its flows are not rescued")
			continue
		}
		// A node that would not be asked may ask, and is known by its copies' MAC
		// only if it is a peer; so all are asked.
		spec.Peers = append(spec.Peers, dataplane.RescuePeer{Name: p.Name, IPv4: p.IPv4, IPv6: p.IPv6, MAC: n.MAC, Link: n.Link})
		asked = append(asked, p.Name)
	}
	return spec, asked, problem
}

// leave removes the tables.
func (r *rescuer) leave(ctx context.Context) error {
	if !r.State().On {
		return nil
	}
	return r.rescue.Remove(ctx)
}

func addrOf(p plan.RescuePeer) netip.Addr {
	if p.IPv4.IsValid() {
		return p.IPv4
	}
	return p.IPv6
}
