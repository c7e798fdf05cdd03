package explain

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"text/tabwriter"

	"github.com/heraldlb/herald/internal/share"
)

// Shares writes for each address what every node should get of the new flows and
// what it got, and what to look at when routers do not follow the weights.
func Shares(w io.Writer, addrs []netip.Addr, answers []Answer) {
	// Who has not answered was named for the sessions.
	answers = slices.DeleteFunc(slices.Clone(answers), func(a Answer) bool { return a.Unknown != "" })
	if len(answers) == 0 {
		return
	}
	fmt.Fprintf(w, "\nmeasured shares, as the nodes' speakers count new flows:\n")
	var heard []share.Heard
	var silent []fact
	for _, a := range answers {
		if f, ok := a.counts(); !ok {
			silent = append(silent, f)
			continue
		}
		heard = append(heard, share.Heard{Node: a.Node, Report: a.State.Flows.Report})
	}
	if len(heard) > 0 {
		for _, a := range addrs {
			shares(w, share.Judge(a, heard))
		}
	}
	grouped(w, silent)
	weak(w, addrs, answers)
}

// weak writes what will break weights on a router, or may: of the peers, and of the
// addresses. What a session lacks was written with the sessions.
func weak(w io.Writer, addrs []netip.Addr, answers []Answer) {
	var facts []fact
	for _, a := range answers {
		if a.State.Flows == nil {
			continue
		}
		for _, x := range a.State.Flows.Warnings {
			if x.Kind != share.NotNegotiated && (!x.Addr.IsValid() || slices.Contains(addrs, x.Addr)) {
				facts = append(facts, fact{0, "warning", x.Text, a.Node, ""})
			}
		}
	}
	grouped(w, facts)
}

// counts tells why a node's counts are not known.
func (a Answer) counts() (fact, bool) {
	switch {
	case a.State.Flows == nil:
		return fact{unknownRank, "not known", "/state of the speaker does not tell: its version counts none", a.Node, ""}, false
	case a.State.Flows.Off != "":
		return fact{1, "not counted", a.State.Flows.Off, a.Node, ""}, false
	}
	return fact{}, true
}

// shares writes one verdict.
func shares(w io.Writer, v share.Verdict) {
	switch v.Kind {
	case share.Unknown:
		fmt.Fprintf(w, "  %s  not judged: %s\n", v.Addr, v.Why)
		return
	case share.TooFew:
		fmt.Fprintf(w, "  %s  not judged yet: %s%s\n", v.Addr, share.Counted(v), few(v))
	case share.Right:
		fmt.Fprintf(w, "  %s  as the weights ask for: %s\n", v.Addr, share.Counted(v))
	case share.Wrong:
		fmt.Fprintf(w, "  %s  NOT as the weights ask for: %s\n", v.Addr, share.Counted(v))
	}
	if v.Flows > 0 {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, n := range v.Nodes {
			fmt.Fprintf(tw, "    %s\tweight %d\tshould get %s\tgot %s\n", n.Node, n.Weight, share.Percent(n.Want), share.Percent(n.Got))
		}
		for _, node := range v.Silent {
			fmt.Fprintf(tw, "    %s\tleft out: its count is not known\n", node)
		}
		_ = tw.Flush() // w's errors are its owner's to see
	}
	if v.Kind == share.Wrong {
		fmt.Fprintf(w, "    %s\n    To look at, in the order in which it helps:\n", v.Says())
		for i, r := range share.Remedies() {
			fmt.Fprintf(w, "    %d. %s\n", i+1, r)
		}
	}
}

func few(v share.Verdict) string {
	if v.Flows < share.Least {
		return fmt.Sprintf("; it takes %d", share.Least)
	}
	return "; they are off, but that may be the beginning or the end of a burst"
}
