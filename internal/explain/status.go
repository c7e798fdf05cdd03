package explain

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// A Status is Herald in a cluster at one moment. Read Problems first.
type Status struct {
	saved    Saved
	answers  []Answer // of all nodes
	now      time.Time
	accepted *config.Config // nil: none yet
	hash     string
	missing  bool              // there is no newest configuration
	refused  []string          // what is wrong with it; empty: nothing
	services []cluster.Service // that are Herald's
	pools    []assign.PoolUsage
}

// NewStatus is made of the cluster, what each node's speaker says, and the text of the
// ConfigMap that people write; missing tells that there is none.
func NewStatus(saved Saved, answers []Answer, written string, missing bool, now time.Time) (*Status, error) {
	s := &Status{saved: saved, answers: answers, now: now, missing: missing}
	var err error
	if s.accepted, s.hash, err = parse(saved.Config); err != nil {
		return nil, err
	}
	if !missing {
		s.judge(written)
	}
	all := saved.Cluster.Services
	if s.accepted != nil {
		all = s.accepted.Scope.Own(all)
	}
	for _, svc := range all {
		if svc.Ours() && !svc.Deleting {
			s.services = append(s.services, svc)
		}
	}
	s.pools = assign.Compute(s.accepted, all, saved.Cluster.Nodes, nil).Pools
	return s, nil
}

// judge finds out why the allocator would refuse the newest configuration.
func (s *Status) judge(written string) {
	next, _, err := config.Examine([]byte(written))
	var faults config.Problems
	switch {
	case errors.As(err, &faults):
	case err != nil:
		s.refused = []string{err.Error()}
		return
	default:
		faults, _ = assign.Clashes(next, s.accepted, s.saved.Cluster)
	}
	for _, f := range faults {
		s.refused = append(s.refused, f.String())
	}
}

// Problems are what somebody should look at, the whole cluster's first, then by node
// and Service. Each says where it is, what is so, and what to do if that is known.
func (s *Status) Problems() (all []Problem) {
	add := func(p Problem) {
		p.Message = strings.ReplaceAll(p.Message, "\n", "; ")
		all = append(all, p)
	}
	say := func(format string, args ...any) { add(Problem{Message: fmt.Sprintf(format, args...)}) }
	switch {
	case s.accepted == nil:
		say("no configuration is in force, so nothing is handed out or announced")
	case len(s.accepted.Peers) == 0 && !slices.ContainsFunc(s.accepted.Pools, func(p config.Pool) bool { return p.L2 }):
		say("nothing is announced: the configuration has neither peers nor a pool with l2 in announce")
	}
	if s.missing {
		say("there is no ConfigMap herald with a key %s: the last configuration that was accepted stays in force, if there is one", config.ConfigMapKey)
	}
	if n := len(s.refused); n > 0 {
		say("the newest configuration is refused: %s%s; heraldctl check names all", s.refused[0], andMore(n))
	}
	for _, a := range s.answers {
		for _, p := range s.ofNode(a) {
			add(Problem{Node: a.Node, Message: p})
		}
	}
	for _, svc := range s.services {
		switch c := svc.Condition; {
		case svc.Another():
		case c.Reason == "":
			add(Problem{Service: svc.Key(), Message: "the allocator has said nothing of it: is there a leader? kubectl -n herald-system get lease herald-allocator"})
		case c.Reason != string(assign.Allocated) && c.Reason != string(assign.AddressRetired):
			add(Problem{Service: svc.Key(), Message: c.Reason + ": " + c.Message})
		}
	}
	return all
}

// ofNode is what is wrong on a node, by its speaker's own account.
func (s *Status) ofNode(a Answer) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if a.Unknown != "" {
		say("not known: %s", strings.TrimSpace(a.Unknown+" "+a.Pod))
		return lines
	}
	st := a.State
	switch {
	case st.ConfigError != "":
		say("configuration: %s", st.ConfigError)
	case s.accepted != nil && st.ConfigHash != s.hash:
		say("it goes by the configuration %s, not %s: it has not heard of that yet, or the API server cannot be reached from there", cmp.Or(st.ConfigHash, "none"), s.hash)
	}
	if st.Error != "" {
		say("not applied: %s", st.Error)
	}
	if st.Resumed != nil {
		say("it announces what it saved %s ago: the API server has not answered it", age(s.now, *st.Resumed))
	}
	if st.Drains != "" {
		say("it drains: %s", st.Drains)
	}
	if st.Fused > 0 {
		say("the withdrawal of %d addresses is held back, since nobody said why they would go", st.Fused)
	}
	if st.Forwarding.Down {
		say("kube-proxy does not answer any more")
	}
	for _, of := range []map[string]string{st.Forwarding.Pending, st.Forwarding.Outdated} {
		if n := len(of); n > 0 {
			first := slices.Sorted(maps.Keys(of))[0]
			say("kube-proxy: %s: %s%s", first, of[first], andMore(n))
		}
	}
	if st.Members != nil && st.Members.Problem != "" {
		say("gossip: %s", st.Members.Problem)
	}
	for _, p := range st.Peers {
		switch {
		case p.State != "Established":
			say("session with %s: %s for %s: %s", p.title(), p.State, age(s.now, p.Since), cmp.Or(p.LastError, "it has just begun"))
		case p.Withheld != "":
			say("session with %s: %s", p.title(), p.Withheld)
		case p.BFD != "" && p.BFD != "Up":
			say("session with %s: BFD is %s: does the router have BFD for this neighbor?", p.title(), p.BFD)
		}
	}
	if st.Flows != nil {
		for _, w := range st.Flows.Warnings {
			say("weights: %s", w.Text)
		}
	}
	return lines
}

func andMore(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n-1)
}

func (p Peer) title() string {
	if !p.Address.IsValid() {
		return p.Name
	}
	return fmt.Sprintf("%s (%s)", p.Name, p.Address)
}

// Write writes the overview: problems first, then all tables.
func (r Report) Write(w io.Writer) {
	if r.Configuration == "" {
		fmt.Fprintln(w, "configuration: none in force")
	} else {
		fmt.Fprintf(w, "configuration: %s in force\n", r.Configuration)
	}
	fmt.Fprintf(w, "\nproblems: %d\n", len(r.Problems))
	for _, p := range r.Problems {
		fmt.Fprintln(w, "  "+p.String())
	}
	for _, t := range Parts() {
		fmt.Fprintln(w)
		t.Write(r, w)
	}
}

// A Part of a Report is a table that can be asked for alone.
type Part struct {
	Name  string
	Write func(Report, io.Writer)
	Only  func(Report) Report // which has no other part
}

// Parts are all there are, in their order.
func Parts() []Part {
	return []Part{
		{"pools", Report.pools, func(r Report) Report { return r.without(Report{Pools: r.Pools}) }},
		{"nodes", Report.nodes, func(r Report) Report { return r.without(Report{Nodes: r.Nodes}) }},
		{"sessions", Report.sessions, func(r Report) Report { return r.without(Report{Sessions: r.Sessions}) }},
		{"services", Report.services, func(r Report) Report { return r.without(Report{Services: r.Services}) }},
	}
}

// without is the head of r with the lists of part.
func (r Report) without(part Report) Report {
	part.APIVersion, part.Kind, part.Time, part.Configuration = r.APIVersion, r.Kind, r.Time, r.Configuration
	return part
}

// grid aligns rows of cells. Empty cells are dashes.
func grid(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		for i := range r {
			r[i] = cmp.Or(r[i], "-")
		}
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush() // the writer's errors have no other way out
}

func (r Report) pools(w io.Writer) {
	rows := [][]string{{"POOL", "FAMILY", "IN USE", "FREE"}}
	for _, p := range r.Pools {
		rows = append(rows, []string{p.Name, string(p.Family), strconv.FormatUint(p.InUse, 10), strconv.FormatUint(p.Free, 10)})
	}
	grid(w, rows)
}

func (r Report) nodes(w io.Writer) {
	rows := [][]string{{"NODE", "SPEAKER", "CONFIGURATION", "SESSIONS", "ROUTES", "PROBLEMS"}}
	for _, n := range r.Nodes {
		if !n.Answers {
			rows = append(rows, []string{n.Name, "not known", "", "", "", strconv.Itoa(n.Problems)})
			continue
		}
		rows = append(rows, []string{n.Name, "runs", n.Configuration, fmt.Sprintf("%d/%d", n.SessionsUp, n.Sessions), strconv.Itoa(n.Routes), strconv.Itoa(n.Problems)})
	}
	grid(w, rows)
}

func (r Report) sessions(w io.Writer) {
	rows := [][]string{{"NODE", "PEER", "ADDRESS", "STATE", "FOR", "BFD", "ROUTES", "LAST ERROR"}}
	for _, s := range r.Sessions {
		addr := ""
		if s.Address.IsValid() {
			addr = s.Address.String()
		}
		rows = append(rows, []string{s.Node, s.Peer, addr, s.State, age(r.Time, s.Since), s.BFD, strconv.Itoa(s.Routes), s.LastError})
	}
	grid(w, rows)
}

func (r Report) services(w io.Writer) {
	rows := [][]string{{"SERVICE", "ADDRESSES", "REASON"}}
	for _, s := range r.Services {
		rows = append(rows, []string{s.Namespace + "/" + s.Name, joined(s.Addresses), s.Reason})
	}
	grid(w, rows)
}

func joined(addrs []netip.Addr) string {
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

// age is how long ago something was, as kubectl writes it: the largest unit, or two.
func age(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	d := max(0, now.Sub(then))
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
