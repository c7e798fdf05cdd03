package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// What a test has done may take effect for longer than the test: the fuse holds
// what it has deleted, damping holds weights back, sessions open anew after its
// configuration. The next test, which one ever it is, must find nothing of it.
const (
	calmWithin = 2 * time.Minute
	// settled is how old a session must be: BFD begins a second after it.
	settled = 3 * time.Second
)

// Calm waits until the configuration that was applied last is in force on all
// nodes, and nothing is under way on any: no node is away or drains, no
// withdrawal and no weight is held back, nothing waits for kube-proxy, nothing is
// doubted, every session is up and nothing is left to write.
func (s *Stage) Calm(ctx context.Context) error {
	return Wait(ctx, calmWithin, func() error {
		if err := s.nodesReady(ctx); err != nil {
			return err
		}
		hash, err := s.accepted(ctx)
		if err != nil {
			return err
		}
		for _, n := range s.Nodes() {
			out, err := s.Exec(ctx, n.Name, "curl", "-sfm3", "http://127.0.0.1:7473/state")
			if err != nil {
				return fmt.Errorf("speaker on %s: %w", n.Name, err)
			}
			var st speakerState
			if err := json.Unmarshal([]byte(out), &st); err != nil {
				return fmt.Errorf("state of the speaker on %s: %w", n.Name, err)
			}
			if why := st.unrest(time.Now(), hash, len(s.Nodes())); why != "" {
				return fmt.Errorf("not calm: on %s %s", n.Name, why)
			}
		}
		return s.allocatorsCalm(ctx)
	})
}

// speakerState is what Calm reads of a speaker's /state.
type speakerState struct {
	ConfigHash, ConfigError, Error, Drains string
	Fused, Doubted                         int
	Alive                                  []string
	Holds                                  map[string]struct{ Due time.Time }
	Resumed                                *time.Time
	Forwarding                             struct{ Pending map[string]string }
	Members                                *struct{}
	Peers                                  []struct {
		Name, State, BFD, LastError string
		Address                     netip.Addr
		Since                       time.Time
	}
}

// unrest is what is still under way, as the rest of a sentence; empty: nothing.
func (st speakerState) unrest(now time.Time, hash string, nodes int) string {
	held := 0
	for _, h := range st.Holds {
		if !h.Due.IsZero() {
			held++
		}
	}
	switch {
	case st.ConfigHash != hash:
		return fmt.Sprintf("the configuration %s is in force, not %s; %s", st.ConfigHash, hash, st.ConfigError)
	case st.Error != "":
		return "the table is not applied: " + st.Error
	case st.Drains != "":
		return "the node drains: " + st.Drains
	case st.Resumed != nil:
		return "a saved state is announced"
	case st.Fused > 0:
		return fmt.Sprintf("the fuse holds %d withdrawals back", st.Fused)
	case held > 0:
		return fmt.Sprintf("%d changes of weight are held back", held)
	case st.Doubted > 0:
		return fmt.Sprintf("%d endpoints or nodes are doubted", st.Doubted)
	case len(st.Forwarding.Pending) > 0:
		return fmt.Sprintf("kube-proxy has no rules yet for %v", slices.Sorted(maps.Keys(st.Forwarding.Pending)))
	case st.Members != nil && len(st.Alive) != nodes:
		return fmt.Sprintf("the gossip knows only %v", st.Alive)
	}
	for _, p := range st.Peers {
		// A range and a passive peer may be there for nobody.
		up := p.State == "Established" && (p.BFD == "" || p.BFD == "Up") && now.Sub(p.Since) >= settled
		if p.Address.IsValid() && !up {
			return fmt.Sprintf("the session with %s (%s) is %s since %s, BFD %q; %s", p.Name, p.Address, p.State, p.Since.Format(time.TimeOnly), p.BFD, p.LastError)
		}
	}
	return ""
}

// nodesReady is an error unless every node is there for all that may come.
func (s *Stage) nodesReady(ctx context.Context) error {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ Unschedulable bool }
			Status   struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := s.Get(ctx, "/api/v1/nodes", &list); err != nil {
		return err
	}
	ready := 0
	for _, n := range list.Items {
		if n.Spec.Unschedulable {
			return fmt.Errorf("not calm: node %s is cordoned", n.Metadata.Name)
		}
		for _, c := range n.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" {
				ready++
			}
		}
	}
	if ready != len(s.Nodes()) {
		return fmt.Errorf("not calm: %d of %d nodes are ready", ready, len(s.Nodes()))
	}
	return nil
}

// accepted is the hash of the accepted configuration, if that is the one which
// was applied last.
func (s *Stage) accepted(ctx context.Context) (hash string, err error) {
	var applied, accepted struct {
		Metadata struct {
			ResourceVersion string
			Annotations     map[string]string
		}
	}
	const configMaps = "/api/v1/namespaces/herald-system/configmaps/"
	err = errors.Join(s.Get(ctx, configMaps+"herald", &applied), s.Get(ctx, configMaps+"herald-accepted", &accepted))
	if err != nil {
		return "", err
	}
	notes := accepted.Metadata.Annotations
	if source := notes["heraldlb.io/source-resource-version"]; source != applied.Metadata.ResourceVersion {
		return "", fmt.Errorf("not calm: the configuration of version %s is not accepted, that of %s is", applied.Metadata.ResourceVersion, source)
	}
	return notes["heraldlb.io/config-hash"], nil
}

// allocatorsCalm is an error unless one allocator leads, and has nothing to write.
func (s *Stage) allocatorsCalm(ctx context.Context) error {
	metrics, err := s.AllocatorMetrics(ctx)
	if err != nil {
		return err
	}
	leaders, pending := 0.0, 0.0
	for _, m := range metrics {
		leaders += m.Sum("herald_allocator_leader")
		pending += m.Sum("herald_allocator_pending_writes")
	}
	if leaders != 1 || pending != 0 {
		return fmt.Errorf("not calm: %v of %d allocators lead, and %v statuses are not written", leaders, len(metrics), pending)
	}
	return nil
}
