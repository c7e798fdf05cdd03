package explain

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/heraldlb/herald/speaker/plan"
)

// row is what one node does about one address.
type row struct {
	node string
	plan.Decision
	known    bool   // the node's own speaker says so; else it is expected
	unknown  string // why the speaker was not heard; empty: it was, or nobody was asked
	sessions string // why no peer gets what the node announces; empty: some does
}

// told is what a node's speaker says about an address, or else what the plan lets one
// expect.
func told(node string, expected plan.Decision, answers []Answer) row {
	i := slices.IndexFunc(answers, func(a Answer) bool { return a.Node == node })
	if i < 0 {
		r := row{node: node, Decision: expected}
		if len(answers) > 0 {
			r.unknown = "it was not asked"
		}
		return r
	}
	a := answers[i]
	if a.Unknown != "" {
		return row{node: node, Decision: expected, unknown: a.Unknown}
	}
	for _, d := range a.State.Table.Decisions {
		if d.Service != expected.Service || d.Addr != expected.Addr {
			continue
		}
		r := row{node: node, Decision: d, known: true}
		for _, x := range a.State.Table.Routes {
			if x.Prefix.IsSingleIP() && x.Prefix.Addr() == d.Addr {
				r.Weight = x.Weight // as announced: changes may be held back
			}
		}
		if d.Announce && !slices.ContainsFunc(a.State.Peers, func(p Peer) bool { return p.State == "Established" }) {
			r.sessions = "no BGP session is up"
		}
		return r
	}
	late := plan.Decision{Service: expected.Service, Addr: expected.Addr, Detail: "its speaker does not know the address yet"}
	if why := a.State.ConfigError + a.State.Error; why != "" {
		late.Detail = why
	}
	return row{node: node, Decision: late, known: true}
}

// announces tells whether routers have a route to this node, as far as that is known.
func (r row) announces() bool { return r.Announce && r.unknown == "" && r.sessions == "" }

func table(w io.Writer, rows []row) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	remedies := map[plan.Reason]bool{}
	for _, r := range rows {
		does, weight, text := r.says(rows)
		if does == silent || r.Draining || r.Announce && r.Reason != plan.Announced {
			remedies[r.Reason] = true
		}
		if r.unknown != "" {
			does, text = "expected", does+", "+text+"; not known: "+r.unknown
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\n", r.node, does, weight, text)
	}
	_ = tw.Flush() // w's errors are its owner's to see
	if i := slices.IndexFunc(rows, func(r row) bool { return r.Claim && !r.known }); i >= 0 {
		fmt.Fprintf(w, "  That takes every node to be alive and its links to be usable; /state of the speaker on %s knows.\n", rows[i].node)
	}
	for _, r := range plan.Reasons() {
		if remedies[r] {
			fmt.Fprintf(w, "  %s: %s\n", r, r.Remedy())
		}
	}
}

const silent = "silent"

// says is what a node does, with which weight, and the rest of the line.
func (r row) says(rows []row) (does, weight, text string) {
	weight = fmt.Sprintf("weight %d", r.Weight)
	switch {
	case r.Announce && r.sessions != "":
		return "cannot", weight, "announce it: " + r.sessions
	case r.Draining:
		return "drains", weight, why(r.Decision)
	case r.Announce:
		text = portion(r, rows) + " of the traffic" + atLayer2(r.Decision)
		if r.Reason != plan.Announced {
			text += "; but " + why(r.Decision)
		}
		return "announces", weight, text
	case r.Claim:
		return "answers", "-", "all of the traffic: it owns the address at layer 2"
	default:
		return silent, "-", why(r.Decision)
	}
}

func why(d plan.Decision) string {
	switch {
	case d.Detail == "":
		return string(d.Reason)
	case d.Reason == "":
		return d.Detail
	default:
		return string(d.Reason) + ": " + d.Detail
	}
}

// atLayer2 is what a node does for an address beside its routes.
func atLayer2(d plan.Decision) string {
	if d.Claim {
		return "; it owns the address at layer 2"
	}
	return ""
}

// portion is the part of the connections that a router which honours the weights
// sends to this node: of those that announce, or may.
func portion(of row, rows []row) string {
	sum := uint64(0)
	for _, r := range rows {
		if r.Announce && !r.Draining && (r.announces() || r.node == of.node) {
			sum += uint64(r.Weight)
		}
	}
	return fmt.Sprintf("%.1f %%", 100*float64(of.Weight)/float64(max(sum, 1)))
}
