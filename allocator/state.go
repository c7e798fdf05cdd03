package allocator

import (
	"fmt"
	"slices"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/config"
)

// State is what the leader did last, for /state.
type State struct {
	Leader         bool                  `json:"leader"`
	ConfigHash     string                `json:"configHash"` // in force; empty: none
	ConfigSource   string                `json:"configSourceVersion"`
	ConfigProblems []string              `json:"configProblems"` // of the newest; it is in force if there are none
	ConfigWarnings []string              `json:"configWarnings"` // of the newest, if it has no problems
	Pools          []assign.PoolUsage    `json:"pools"`
	Services       map[assign.Reason]int `json:"services"` // how many, by reason
	PendingWrites  int                   `json:"pendingWrites"`
	Quarantine     []Left                `json:"quarantine"` // the one that was left first in front
}

// State is the zero State while another replica leads.
func (a *Allocator) State() State {
	if s := a.state.Load(); s != nil {
		return *s
	}
	return State{}
}

func (t *term) report(r assign.Result) {
	t.Metrics.computed(r, len(t.writes.byUID))
	s := &State{
		Leader:       true,
		ConfigHash:   t.judge.hash,
		ConfigSource: t.judge.source,
		Pools:        r.Pools,
		Services:     countReasons(r),

		PendingWrites: len(t.writes.byUID),
		Quarantine:    slices.Clone(t.left.left),
	}
	s.ConfigProblems, s.ConfigWarnings = texts(t.judge.faults()), texts(t.judge.warnings)
	t.state = s
	t.publish(s)
}

// texts bounds what is shown of a configuration that has thousands of faults.
func texts(ps config.Problems) (all []string) {
	const most = 100
	for i, p := range ps {
		if i == most {
			return append(all, fmt.Sprintf("and %d more; `heraldctl check` shows all", len(ps)-most))
		}
		all = append(all, p.String())
	}
	return all
}

// settled reports that a write has ended. The step for what it has changed may
// have been before.
func (t *term) settled() {
	s := *t.state
	s.PendingWrites = len(t.writes.byUID)
	t.Metrics.pending.Set(float64(s.PendingWrites))
	t.state = &s
	t.publish(&s)
}
