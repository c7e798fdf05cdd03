package allocator

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/heraldlb/herald/internal/cluster"
)

// StatusKey is the key of the report in the ConfigMap Options.Status.
const StatusKey = "status.yaml"

const (
	// reportPause is between two writes of the report: what changes a hundred times a
	// second is no news.
	reportPause = 5 * time.Second
	// mostQuarantined bounds what a report tells of, and so what a next leader knows.
	mostQuarantined = 1000
)

// report is what the leader tells of itself in the API, for people and for the next
// leader: how full the pools are, what is wrong with the newest configuration long after
// its Event is gone, and which addresses are in quarantine. Its names stay within an
// apiVersion.
type report struct {
	APIVersion    string         `yaml:"apiVersion"`
	Kind          string         `yaml:"kind"`
	Configuration reportedConfig `yaml:"configuration"`
	Pools         []reportedPool `yaml:"pools"`
	Services      map[string]int `yaml:"services"` // how many, by the Reason of their condition
	Quarantine    []reportedLeft `yaml:"quarantine,omitempty"`
}

type reportedConfig struct {
	InForce  string   `yaml:"inForce"` // hash; empty: none
	Problems []string `yaml:"problems,omitempty"`
	Warnings []string `yaml:"warnings,omitempty"`
}

type reportedPool struct {
	Name   string         `yaml:"name"`
	Family cluster.Family `yaml:"family"`
	InUse  uint64         `yaml:"inUse"`
	Free   uint64         `yaml:"free"`
}

type reportedLeft struct {
	Address netip.Addr `yaml:"address"`
	Until   time.Time  `yaml:"until"` // RFC 3339
}

func reportOf(s State) report {
	r := report{
		APIVersion: "heraldlb.io/v1", Kind: "AllocatorStatus",
		Configuration: reportedConfig{s.ConfigHash, s.ConfigProblems, s.ConfigWarnings}, Pools: []reportedPool{}, Services: map[string]int{},
	}
	for _, p := range s.Pools {
		r.Pools = append(r.Pools, reportedPool{p.Pool, p.Family, p.Assigned, p.Capacity - min(p.Assigned, p.Capacity)})
	}
	for reason, n := range s.Services {
		if n > 0 {
			r.Services[string(reason)] = n
		}
	}
	for _, l := range s.Quarantine[max(0, len(s.Quarantine)-mostQuarantined):] {
		r.Quarantine = append(r.Quarantine, reportedLeft(l))
	}
	return r
}

// reporter writes reports, apart from the loop: an API server that is slow must not
// delay an address.
type reporter struct {
	Options
	state *atomic.Pointer[State]
	wake  chan struct{} // has an element when the state may be another
}

func newReporter(o Options, state *atomic.Pointer[State]) *reporter {
	return &reporter{Options: o, state: state, wake: make(chan struct{}, 1)}
}

func (r *reporter) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run writes what has changed until ctx ends.
func (r *reporter) run(ctx context.Context) {
	var written string
	var failed bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		s := r.state.Load()
		if s == nil {
			continue
		}
		text, err := yaml.Marshal(reportOf(*s))
		if err == nil && string(text) != written {
			err = r.ConfigMaps.PublishConfigMap(ctx, r.Status, nil, map[string]string{StatusKey: string(text)})
		}
		pause := reportPause
		switch {
		case err == nil:
			written, failed = string(text), false
		case ctx.Err() != nil:
			return
		default:
			if !failed {
				r.Log.Warn("the report of pools and configuration cannot be written; will try again", "configmap", r.Namespace+"/"+r.Status, "err", err)
			}
			failed, pause = true, retryRefused
			r.poke()
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// recall reads what the leader before has told of addresses in quarantine. Without that
// a leader can do its work, so it waits only for a server that is away.
func (t *term) recall(ctx context.Context) error {
	if t.Status == "" {
		return nil
	}
	cm, ok, err := t.ConfigMaps.ReadConfigMap(ctx, t.Status)
	switch {
	case errors.Is(err, cluster.ErrRefused):
		t.Log.Warn("the report of the leader before cannot be read", "configmap", t.Namespace+"/"+t.Status, "err", err)
		return nil
	case err != nil || !ok:
		return err
	}
	var before report
	if err := yaml.Unmarshal([]byte(cm.Data[StatusKey]), &before); err != nil {
		t.Log.Warn("the report of the leader before cannot be read", "configmap", t.Namespace+"/"+t.Status, "err", err)
		return nil
	}
	for _, l := range before.Quarantine {
		if l.Address.IsValid() {
			t.left.left = append(t.left.left, Left(l))
		}
	}
	return nil
}
