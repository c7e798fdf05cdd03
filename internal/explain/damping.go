package explain

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/heraldlb/herald/speaker/plan"
)

// Hold is what damping does with the weights of one address.
type Hold struct {
	Announced, Wanted []plan.NodeWeight
	Due               time.Time // zero: nothing is held back, or too little to be told
	Quick             bool
	Slow              string
}

// Damping writes for each address how soon its weights follow the pods, and what is
// held back for now. All nodes should say the same.
func Damping(w io.Writer, addrs []netip.Addr, answers []Answer) {
	var facts []fact
	for _, addr := range addrs {
		for _, a := range answers {
			h, ok := a.State.Holds[addr]
			switch {
			case !ok:
				continue
			case h.Quick:
				facts = append(facts, fact{0, addr.String() + " follows within 10 s", "flow rescue leads back what routers move", a.Node, ""})
			case h.Slow != "":
				facts = append(facts, fact{0, addr.String() + " follows as bgp.weights says", h.Slow, a.Node, ""})
			}
			if !h.Due.IsZero() {
				facts = append(facts, fact{1, fmt.Sprintf("%s is announced with %s until %s", addr, weights(h.Announced), h.Due.UTC().Format(time.RFC3339)), "then with " + weights(h.Wanted), a.Node, ""})
			}
		}
	}
	write(w, "changes of weight", facts)
}

func weights(list []plan.NodeWeight) string {
	var text []string
	for _, n := range list {
		text = append(text, fmt.Sprintf("%s=%d", n.Node, n.Weight))
	}
	return strings.Join(text, " ")
}
