package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/heraldlb/herald/speaker"
	"github.com/heraldlb/herald/speaker/bgp"
	"github.com/heraldlb/herald/speaker/forwarding"
	"github.com/heraldlb/herald/speaker/l2"
	"github.com/heraldlb/herald/speaker/members"
)

// state is /state.
type state struct {
	speaker.State
	Resumed    *time.Time // when the state was saved that is announced from while the API server is away; nil: it has answered
	Forwarding forwarding.State
	Rescue     rescueState
	Flows      flowsState
	Peers      []bgp.PeerStatus
	Links      []l2.LinkStats // on which addresses are, or were, answered for
	Members    *members.State // nil: no gossip
}

func (n *node) state() state {
	st := state{State: n.speaker.State(), Forwarding: n.prober.State(), Rescue: n.rescuer.State(), Flows: n.flowsState(), Peers: n.bgp.Peers()}
	if t := n.source.Resumed(); !t.IsZero() {
		st.Resumed = &t
	}
	if n.layer2 != nil {
		m := n.layer2.gossip.State()
		st.Links, st.Members = n.layer2.announcer.Stats(), &m
	}
	return st
}

// ready tells whether this speaker announces what it should. A session that is
// down does not count: restarting the fleet one by one would then stop at the
// first router that is away.
func (n *node) ready() error {
	if !n.watcher.Synced() {
		return errors.New("the caches have not synced: is the API server reachable?")
	}
	st := n.speaker.State()
	switch {
	case st.ConfigError != "":
		return errors.New(st.ConfigError)
	case st.ConfigHash == "":
		return errors.New("no configuration accepted yet: see the Events of the ConfigMap herald")
	case st.Error != "":
		return fmt.Errorf("table of %s not applied: %s", st.At.Format(time.RFC3339), st.Error)
	default:
		return nil
	}
}
