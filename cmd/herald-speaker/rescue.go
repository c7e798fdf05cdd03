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

const nothingToRescue = "no pool whose flows could be rescued"

// rescuer keeps the dataplane's tables equal to what the plan says of rescue.
type rescuer struct {
	log     *slog.Logger
	rescue  *dataplane.Rescue
	wake    chan struct{}
	overlay *dataplane.Overlay
	probed  map[bool]bool // for IPv6, for IPv4
	known   map[netip.Addr]dataplane.Neighbour
	clean   bool // none of our tables is there; an earlier process may have left some

	told    chan struct{}                    // nil, or poked when Serves changes
	lost    func() map[string]netip.AddrPort // the nodes that the gossip has lost; nil: there is none
	silence silence

	forbidden bool // the last probe found no right to make tables
	failures  int  // to make the tables, since they were made

	mu      sync.Mutex
	applied bool // want is what the plan says
	want    plan.Rescue
	self    netip.Addr // this node's, as others know it
	state   rescueState
	serves  bool
	retired bool
}

// rescueState is for /state and metrics.
type rescueState struct {
	On       bool
	Why      string   // it is off, or not whole
	Peers    []string // that are asked
	Counters dataplane.RescueCounters
}

func newRescuer(log *slog.Logger) *rescuer {
	return &rescuer{
		log: log, rescue: dataplane.NewRescue(log), overlay: dataplane.NewOverlay(log), wake: make(chan struct{}, 1),
		probed: map[bool]bool{}, known: map[netip.Addr]dataplane.Neighbour{}, silence: silence{answers: answers},
	}
}

// Apply implements speaker.Announcer. What cannot be done shows in the state: no
// route waits for it.
func (r *rescuer) Apply(_ context.Context, t plan.Table) error {
	r.mu.Lock()
	r.applied = true
	r.want, r.self = t.Rescue, addrOf(plan.RescuePeer{IPv4: t.NextHops.IPv4, IPv6: t.NextHops.IPv6})
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return nil
}

// Serves tells whether this node answers what others ask.
func (r *rescuer) Serves() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.serves && !r.retired
}

func (r *rescuer) setServes(serves bool) {
	r.mu.Lock()
	changed := r.serves != serves
	r.serves = serves
	r.mu.Unlock()
	if changed {
		poke(r.told)
	}
}

// retire comes before leave: nobody shall ask this node any more.
func (r *rescuer) retire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = true
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
			level := slog.LevelInfo
			if r.forbidden {
				level = slog.LevelDebug // the manifests do not ask for it
			}
			r.log.Log(ctx, level, "flow rescue", "on", st.On, "peers", st.Peers, "why", st.Why)
		}
	}
}

func (r *rescuer) step(ctx context.Context) rescueState {
	r.mu.Lock()
	applied, want, self := r.applied, r.want, r.self
	r.mu.Unlock()
	if !applied {
		// The API may be away; the tables of the speaker before go on meanwhile.
		return rescueState{Why: "this speaker knows no Services yet"}
	}
	if len(want.Services) == 0 {
		r.setServes(false)
		if !r.clean {
			err := r.remove(ctx)
			r.forbidden = errors.Is(err, fs.ErrPermission)
			switch {
			case r.forbidden:
				return rescueState{Why: nothingToRescue + "; this speaker could not remove what one of manifests/overlays/flow-rescue has left"}
			case err != nil:
				return rescueState{Why: err.Error()}
			}
			r.clean = true
		}
		return rescueState{Why: nothingToRescue}
	}
	err := r.probe(ctx, want)
	r.forbidden = errors.Is(err, fs.ErrPermission)
	if err != nil {
		return rescueState{Why: err.Error()}
	}
	gone := map[string]bool{}
	if r.lost != nil {
		gone = r.silence.update(ctx, r.lost())
	}
	where, err := dataplane.Neighbours(ctx, addrsOf(want.Peers, gone))
	if err != nil {
		return rescueState{Why: err.Error()}
	}
	for a, n := range where {
		r.known[a] = n
	}
	found := locate(want, self, r.known, dataplane.BehindGateway)
	for i, p := range found.spec.Peers {
		found.spec.Peers[i].Gone = gone[p.Name]
	}
	r.clean = false
	if err := r.set(ctx, found); err != nil {
		// The tables that are there may be as good as those that could not be made.
		if r.failures++; r.failures > 1 {
			r.setServes(false)
		}
		return rescueState{Why: err.Error()}
	}
	r.failures = 0
	r.setServes(true)
	asked, problem := found.asked, found.problem
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
			return fmt.Errorf("%w; apply manifests/overlays/flow-rescue or full, which permit it", err)
		}
		if err != nil {
			return err
		}
		r.probed[v6] = true
	}
	return nil
}

// located is where the peers are.
type located struct {
	spec    dataplane.RescueSpec
	overlay dataplane.OverlaySpec // without Peers: none is needed
	asked   []string
	problem string
}

// locate makes the spec. Also a node that is not asked may ask, and is known by its
// copies' MAC. Where a neighbour was last it will be again: while a node boots it
// does not answer.
func locate(want plan.Rescue, self netip.Addr, known map[netip.Addr]dataplane.Neighbour, behindGateway func(netip.Addr) bool) located {
	var out located
	for _, s := range want.Services {
		out.spec.Services = append(out.spec.Services, dataplane.RescueService(s))
	}
	out.overlay.Local = self
	for _, p := range want.Peers {
		a := addrOf(p)
		n, near := known[a]
		var peer dataplane.RescuePeer
		switch {
		case near:
			peer = dataplane.RescuePeer{Name: p.Name, IPv4: p.IPv4, IPv6: p.IPv6, MAC: n.MAC, Link: n.Link}
		case a.Is4() == self.Is4() && behindGateway(a):
			out.overlay.Peers = append(out.overlay.Peers, a)
			out.spec.Overlay = out.overlay.Rescue()
			peer = out.overlay.Peer(p.Name, a)
		default:
			out.problem = cmp.Or(out.problem, "node "+p.Name+" cannot be reached yet: its connections are not rescued")
			continue
		}
		peer.Ask = p.Ask
		out.spec.Peers = append(out.spec.Peers, peer)
		switch {
		case p.Ask:
			out.asked = append(out.asked, p.Name)
		case p.Off:
			out.problem = cmp.Or(out.problem, "flow rescue is off on node "+p.Name+": its connections are not rescued; heraldctl explain says why it is off")
		}
	}
	return out
}

// set makes the tables first: they let nothing out of the overlay but copies. As
// long as it is missing they leave the peers on it out, which is no error yet.
func (r *rescuer) set(ctx context.Context, found located) error {
	err := r.rescue.Set(ctx, found.spec)
	if len(found.overlay.Peers) == 0 {
		return errors.Join(err, r.overlay.Remove(ctx, dataplane.OverlaySpec{}))
	}
	if err := r.overlay.Set(ctx, found.overlay); err != nil {
		return err
	}
	return r.rescue.Set(ctx, found.spec)
}

func addrsOf(peers []plan.RescuePeer, but map[string]bool) (out []netip.Addr) {
	for _, p := range peers {
		if !but[p.Name] {
			out = append(out, addrOf(p))
		}
	}
	return out
}

// leave removes all that is ours. Who had no right to make it has made nothing.
func (r *rescuer) leave(ctx context.Context) error {
	if err := r.remove(ctx); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// remove takes the overlay first: without the tables it would let in whatever
// somebody sends to its port.
func (r *rescuer) remove(ctx context.Context) error {
	if err := r.overlay.Remove(ctx, dataplane.OverlaySpec{}); err != nil {
		return err
	}
	return r.rescue.Remove(ctx)
}

func addrOf(p plan.RescuePeer) netip.Addr {
	if p.IPv4.IsValid() {
		return p.IPv4
	}
	return p.IPv6
}
