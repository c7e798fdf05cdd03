package explain

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/plan"
)

// Answer is what became of asking one node's speaker for its /state.
type Answer struct {
	Node    string
	Unknown string // why there is no answer; empty: there is one
	Pod     string // ends Unknown, which is a command to look at it then; may be empty
	State   State
}

// State is what is looked at of a speaker's /state.
type State struct {
	ConfigHash         string
	ConfigError, Error string
	Drains             string     // why the node drains; empty: it does not
	Fused              int        // addresses whose withdrawal is held back
	Resumed            *time.Time // when the state was saved that is announced without the API server
	Forwarding         Forwarding
	Members            *Members // nil: no gossip
	Table              Table
	Holds              map[netip.Addr]Hold
	Peers              []Peer
	Rescue             *Rescuing // nil: its version has no flow rescue
	Flows              *Flows    // nil: its version counts none
}

// Flows is what a node has counted, and what it warns of.
type Flows struct {
	share.Report
	Warnings []share.Warning
}

// Table is what the speaker has decided, and announces.
type Table struct {
	Decisions []plan.Decision
	Routes    []Route
}

// Route is what one peer gets.
type Route struct {
	Prefix netip.Prefix
	Weight uint32
}

// Peer is a BGP session in the speaker's words.
type Peer struct {
	Name, State, LastError, Withheld string

	Address  netip.Addr // invalid: whoever connects
	Since    time.Time  // it is up, or down, since then
	Routes   int
	PodCIDRs int
	BFD      string // Up, Init or Down; empty: none
}

// Forwarding is what the speaker knows of its node's kube-proxy.
type Forwarding struct {
	Pending, Outdated map[string]string // service and family, to why
	Down              bool
}

// Members is what the speaker knows of the gossip.
type Members struct{ Problem string }

// Rescuing is whether flow rescue is on, and why not, or not wholly.
type Rescuing struct {
	On  bool
	Why string
}

// Sessions writes which nodes have all their BGP sessions, and what the others
// lack: the plan says what a node would announce, if only it had a peer.
func Sessions(w io.Writer, answers []Answer) {
	var facts []fact
	for _, a := range answers {
		facts = append(facts, a.sessions()...)
	}
	write(w, "BGP sessions", facts)
}

// Rescue writes on which nodes flow rescue is on, and why not on the others.
func Rescue(w io.Writer, answers []Answer) {
	var facts []fact
	for _, a := range answers {
		facts = append(facts, a.rescue())
	}
	write(w, "flow rescue", facts)
}

// NotAsked writes that the nodes of a snapshot cannot be asked.
func NotAsked(w io.Writer, announcing, rescuing []string) {
	var what []string
	if len(announcing) > 0 {
		what = append(what, "BGP sessions", "measured shares")
	}
	if len(rescuing) > 0 {
		what = append(what, "flow rescue")
	}
	if len(what) > 0 {
		fmt.Fprintf(w, "\n%s: a snapshot does not tell how they are on the nodes, which were not asked\n", strings.Join(what, ", "))
	}
}

// fact is what is true of a node. Nodes of which the same is true share a line.
type fact struct {
	rank      int // facts with a lower one come first
	what, why string
	node, pod string
}

// unknownRank is that of nodes of which nothing is known: the last.
const unknownRank = 9

func (a Answer) unknown() fact {
	return fact{unknownRank, "not known", a.Unknown, a.Node, a.Pod}
}

// up tells whether the peer gets all that it should.
func (p Peer) up() bool { return p.State == "Established" && p.Withheld == "" }

func (a Answer) sessions() (facts []fact) {
	switch {
	case a.Unknown != "":
		return []fact{a.unknown()}
	case len(a.State.Peers) == 0:
		why := cmp.Or(a.State.ConfigError, a.State.Error, "the speaker has none yet")
		return []fact{{3, "none", why, a.Node, ""}}
	case !slices.ContainsFunc(a.State.Peers, func(p Peer) bool { return !p.up() }):
		return []fact{{0, "established", "", a.Node, ""}}
	}
	for _, p := range a.State.Peers {
		f := fact{2, p.Name + ": " + p.State, p.LastError, a.Node, ""}
		if p.State == "Established" { // LastError is of old then
			f.rank, f.why = 1, p.Withheld
		}
		facts = append(facts, f)
	}
	return facts
}

func (a Answer) rescue() fact {
	r := a.State.Rescue
	switch {
	case a.Unknown != "":
		return a.unknown()
	case r == nil:
		return fact{unknownRank, "not known", "/state of the speaker does not tell: its version has no flow rescue", a.Node, ""}
	case !r.On:
		return fact{2, "off", r.Why, a.Node, ""}
	case r.Why != "":
		return fact{1, "on, but not whole", r.Why, a.Node, ""}
	default:
		return fact{0, "on", "", a.Node, ""}
	}
}

// write groups facts, so that a large cluster stays readable.
func write(w io.Writer, heading string, facts []fact) {
	if len(facts) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s, as the nodes' speakers say:\n", heading)
	grouped(w, facts)
}

func grouped(w io.Writer, facts []fact) {
	nodes, pods := map[fact][]string{}, map[fact][]string{} // the keys are without node and pod
	var kinds []fact
	for _, f := range facts {
		kind := fact{rank: f.rank, what: f.what, why: f.why}
		if nodes[kind] == nil {
			kinds = append(kinds, kind)
		}
		nodes[kind] = append(nodes[kind], f.node)
		if f.pod != "" {
			pods[kind] = append(pods[kind], f.pod)
		}
	}
	slices.SortStableFunc(kinds, func(a, b fact) int { return cmp.Compare(a.rank, b.rank) })
	for _, k := range kinds {
		because := strings.Join(append([]string{strings.ReplaceAll(k.why, "\n", "; ")}, pods[k]...), " ")
		if because != "" {
			because = ": " + because
		}
		fmt.Fprintf(w, "  %s: %s%s\n", k.what, strings.Join(nodes[k], ", "), because)
	}
}
