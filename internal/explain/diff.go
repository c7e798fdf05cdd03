package explain

import (
	"fmt"
	"io"
	"slices"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// Diff writes what would become of the cluster's Services with another configuration,
// and returns why the allocator would refuse it there, or what it would warn of.
func Diff(w io.Writer, in Saved, next *config.Config) (faults, warnings config.Problems, err error) {
	now, _, err := parse(in.Config)
	if err != nil {
		return nil, nil, err
	}
	faults, warnings = assign.Clashes(next, now, in.Cluster)
	if len(faults) > 0 {
		return faults, warnings, nil
	}
	next, kept := assign.Retire(next, now, in.Cluster.Services)
	warnings = append(assign.WarnOfKept(kept), warnings...)
	before, after := outcome(now, in.Cluster), outcome(next, in.Cluster)
	changed := 0
	for i := range in.Cluster.Services {
		key := in.Cluster.Services[i].Key()
		b, a := before[key], after[key]
		if slices.Equal(b.Addrs, a.Addrs) && b.Reason == a.Reason {
			continue
		}
		changed++
		fmt.Fprintf(w, "%s: %s, %s\n", key, b.Reason, list(b.Addrs))
		fmt.Fprintf(w, "  then %s: %s\n", a.Reason, a.Message)
	}
	if changed == 0 {
		fmt.Fprintln(w, "no Service changes")
	} else {
		fmt.Fprintf(w, "%d of %d Services change\n", changed, len(before))
	}
	return nil, warnings, nil
}

// outcome is the allocator's answer by Service.
func outcome(c *config.Config, s cluster.Snapshot) map[string]assign.Assignment {
	services := s.Services
	if c != nil {
		services = c.Scope.Own(services)
	}
	all := map[string]assign.Assignment{}
	for _, a := range assign.Compute(c, services, s.Nodes, nil).Assignments {
		if a.Reason == assign.Released || a.Reason == assign.ServedByAnother {
			a.Addrs = nil
		}
		all[a.Service] = a
	}
	return all
}
